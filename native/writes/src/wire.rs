//! Fields of encoded messages; see protobuf.dev/programming-guides/encoding.

/// A field's number and value.
pub type Field<'a> = (u32, Value<'a>);

/// A value as it lies in a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// A number or a truth value.
    Varint(u64),
    /// Text, bytes, a message, or packed numbers.
    Bytes(&'a [u8]),
    /// Eight or four bytes, which no message here has.
    Fixed,
}

/// The fields of an encoded message in their order; the last one is `None` where it is damaged.
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Option<Field<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn read(&mut self) -> Option<Field<'a>> {
        let tag = u32::try_from(self.varint()?).ok()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return None,
        };
        Some((tag >> 3, value))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for (at, &byte) in self.0.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                self.0 = &self.0[at + 1..];
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

/// Sets what a message holds once.
pub fn once<T>(slot: &mut Option<T>, value: T) -> Option<()> {
    slot.replace(value).is_none().then_some(())
}

/// Appends a varint.
pub fn put_varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

/// Appends a field that holds bytes.
pub fn put_bytes(into: &mut Vec<u8>, number: u32, value: &[u8]) {
    put_header(into, number, value.len());
    into.extend_from_slice(value);
}

/// Appends the beginning of a field that holds so many bytes.
pub fn put_header(into: &mut Vec<u8>, number: u32, length: usize) {
    put_varint(into, u64::from(number << 3 | 2));
    put_varint(into, length as u64);
}

/// The size of a field that holds so many bytes.
pub fn field_size(length: usize) -> usize {
    // The numbers of all fields here are below 16.
    1 + varint_size(length as u64) + length
}

fn varint_size(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn fields_are_read_as_they_were_written(number in 1_u32..16, value: u64, bytes: Vec<u8>) {
            let mut message = Vec::new();
            put_varint(&mut message, u64::from(number << 3));
            put_varint(&mut message, value);
            let first = message.len();
            put_bytes(&mut message, number, &bytes);
            prop_assert_eq!(message.len() - first, field_size(bytes.len()));
            let fields: Vec<_> = Fields(&message).collect();
            prop_assert_eq!(fields, [Some((number, Value::Varint(value))), Some((number, Value::Bytes(&bytes)))]);
        }

        #[test]
        fn any_bytes_come_to_an_end(bytes: Vec<u8>) {
            let fields: Vec<_> = Fields(&bytes).collect();
            prop_assert!(fields.iter().rev().skip(1).all(Option::is_some));
        }
    }
}
