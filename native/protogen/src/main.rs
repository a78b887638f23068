//! Writes the Rust messages of `lookalike-serve` from what protoc has compiled:
//! `lookalike-protogen DESCRIPTOR_SET OUT_FOLDER`.
//!
//! Only what a search needs is written. Hits stay bytes: an index holds them encoded, and a merge passes them on. So do
//! filters: one of two bytes a condition takes thirty times its size once it is decoded, and its limit is checked before.

use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::path::Path;
use std::{env, fs};

use prost::Message;
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorSet};

const PACKAGE: &str = ".lookalike.v1";
const ROOTS: [&str; 3] = ["HasherServiceSearchRequest", "HasherServiceSearchResponse", "Filter"];
/// Message fields that are read and written as their bytes.
const AS_BYTES: [(&str, &str); 2] = [("HasherServiceSearchRequest", "filter"), ("ShardHits", "hits")];

fn main() -> Result<(), Box<dyn Error>> {
    let [_, set, out] = <[String; 3]>::try_from(env::args().collect::<Vec<_>>())
        .map_err(|_| "usage: lookalike-protogen DESCRIPTOR_SET OUT_FOLDER")?;
    let mut set = FileDescriptorSet::decode(&*fs::read(set)?)?;
    set.file.retain(|file| file.package() == &PACKAGE[1..]);
    for file in &mut set.file {
        file.message_type.iter_mut().for_each(keep_bytes);
        file.service.clear();
    }
    let needed = needed(&set);
    for file in &mut set.file {
        file.message_type.retain(|message| needed.contains(&format!("{PACKAGE}.{}", message.name())));
        file.enum_type.retain(|one| needed.contains(&format!("{PACKAGE}.{}", one.name())));
        // Comments are found by the place of what they are about, which is another one now.
        file.source_code_info = None;
    }
    let module = prost_build::Module::from_protobuf_package_name(&PACKAGE[1..]);
    let requests = set.file.into_iter().map(|file| (module.clone(), file)).collect();
    let mut config = prost_build::Config::new();
    config.bytes([PACKAGE]).btree_map([PACKAGE]);
    let code = config.generate(requests)?.remove(&module).ok_or("the set holds nothing of the package")?;
    fs::write(Path::new(&out).join("v1.rs"), code)?;
    Ok(())
}

fn keep_bytes(message: &mut DescriptorProto) {
    for (name, field) in AS_BYTES {
        if message.name() == name {
            for kept in message.field.iter_mut().filter(|other| other.name() == field) {
                kept.set_type(Type::Bytes);
                kept.type_name = None;
            }
        }
    }
}

/// The names of what the roots lead to.
fn needed(set: &FileDescriptorSet) -> BTreeSet<String> {
    let messages: HashMap<String, &DescriptorProto> = set
        .file
        .iter()
        .flat_map(|file| &file.message_type)
        .map(|message| (format!("{PACKAGE}.{}", message.name()), message))
        .collect();
    let mut needed = BTreeSet::new();
    let mut open: Vec<String> = ROOTS.iter().map(|root| format!("{PACKAGE}.{root}")).collect();
    while let Some(name) = open.pop() {
        if !needed.insert(name.clone()) {
            continue;
        }
        let Some(message) = messages.get(&name) else { continue };
        let nested = message.nested_type.iter().flat_map(|inner| &inner.field);
        open.extend(message.field.iter().chain(nested).filter_map(|field| field.type_name.clone()));
    }
    needed
}
