//! Binding of `lookalike-image`: pictures come as Pillow has them in memory, by Arrow's C data interface.

use std::ffi::{CStr, c_char, c_void};

use lookalike_image::square::{Levels, Square, shared};
use lookalike_image::weights::Filter;
use lookalike_image::{CHANNELS, PIXEL};
use numpy::{PyArray3, PyArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyIterator, PyTuple};

use crate::known;
use crate::panics::detached;

/// `struct ArrowSchema`; what is not read is not named.
#[repr(C)]
struct ArrowSchema {
    format: *const c_char,
    _name: *const c_char,
    _metadata: *const c_char,
    _flags: i64,
    n_children: i64,
    children: *const *const ArrowSchema,
    _dictionary: *const c_void,
    _release: *const c_void,
    _private_data: *const c_void,
}

/// `struct ArrowArray`, likewise.
#[repr(C)]
struct ArrowArray {
    length: i64,
    _null_count: i64,
    offset: i64,
    n_buffers: i64,
    n_children: i64,
    buffers: *const *const c_void,
    children: *const *const ArrowArray,
    _dictionary: *const c_void,
    _release: *const c_void,
    _private_data: *const c_void,
}

/// The network's input that pictures become: see `embedder.preprocess`.
///
/// `strips` are the picture from top to bottom, each an object of whole rows that exports four bytes a pixel and that
/// nobody writes to meanwhile. Resized, its corner lies `at` those columns and rows of the square.
#[pyfunction]
#[pyo3(signature = (strips, size, fitted, at, *, side, interpolation, mean, std))]
#[allow(clippy::too_many_arguments)]
pub fn square_input<'py>(
    py: Python<'py>,
    strips: &Bound<'py, PyIterator>,
    size: (usize, usize),
    fitted: (usize, usize),
    at: (isize, isize),
    side: usize,
    interpolation: &str,
    mean: [f32; CHANNELS],
    std: [f32; CHANNELS],
) -> PyResult<Bound<'py, PyArray3<f32>>> {
    let filter = known(Filter::named(interpolation), "interpolation", interpolation)?;
    let lies_on_it = |length, at| !shared(side, length, at).0.is_empty();
    if size.0 == 0 || size.1 == 0 || !lies_on_it(fitted.0, at.0) || !lies_on_it(fitted.1, at.1) {
        return Err(PyValueError::new_err("a picture has pixels, and some of them lie on the square"));
    }
    let input = PyArray3::<f32>::zeros(py, [CHANNELS, side, side], false);
    let mut planes = input.readwrite();
    let planes = planes.as_slice_mut()?;
    let levels = Levels::new(mean, std);
    let mut square = detached(py, || Square::new(size, fitted, at, filter, side, levels, planes))?;
    let mut rows = 0;
    for strip in strips {
        let strip = Exported::of(&strip?)?;
        let pixels = strip.pixels();
        rows += pixels.len() / (size.0 * PIXEL);
        if pixels.len() % (size.0 * PIXEL) != 0 || rows > size.1 {
            return Err(PyValueError::new_err("the strips are not those of a picture of this size"));
        }
        detached(py, || square.push(pixels))?;
    }
    if !square.is_complete() {
        return Err(PyValueError::new_err("the picture has fewer rows than its size says"));
    }
    Ok(input)
}

/// A picture that an object lends.
struct Exported<'py> {
    array: Bound<'py, PyCapsule>,
}

impl<'py> Exported<'py> {
    fn of(object: &Bound<'py, PyAny>) -> PyResult<Self> {
        let capsules = object.call_method0("__arrow_c_array__")?;
        let (schema, array) =
            capsules.cast::<PyTuple>()?.extract::<(Bound<'_, PyCapsule>, Bound<'_, PyCapsule>)>()?;
        let schema = schema.pointer_checked(Some(c"arrow_schema"))?.cast::<ArrowSchema>();
        let array_pointer = array.pointer_checked(Some(c"arrow_array"))?.cast::<ArrowArray>();
        // SAFETY: by its name the capsule holds such a structure, valid as long as the capsule, which is alive here.
        let is_pixels = unsafe { is_pixels(schema.as_ref()) };
        // SAFETY: as above.
        if !is_pixels || !unsafe { is_dense(array_pointer.as_ref()) } {
            return Err(PyValueError::new_err("a picture must have four bytes a pixel"));
        }
        Ok(Self { array })
    }

    /// `PIXEL` bytes for each pixel, row by row.
    fn pixels(&self) -> &[u8] {
        let array =
            self.array.pointer_checked(Some(c"arrow_array")).expect("checked before").cast::<ArrowArray>();
        // SAFETY: `of` has checked that there is one child with such a buffer. It lives as long as the capsule, and the
        // caller of `square_input` sees to it that nobody writes to it.
        unsafe {
            let array = array.as_ref();
            let child = &**array.children;
            let bytes = (*child.buffers.add(1)).cast::<u8>();
            std::slice::from_raw_parts(bytes, array.length as usize * PIXEL)
        }
    }
}

/// Whether values are lists of four bytes.
///
/// # Safety
/// The schema is valid, as Arrow's specification says.
unsafe fn is_pixels(schema: &ArrowSchema) -> bool {
    // SAFETY: a valid schema has a format that ends with 0, and as many children as it says.
    unsafe {
        CStr::from_ptr(schema.format) == c"+w:4"
            && schema.n_children == 1
            && CStr::from_ptr((**schema.children).format) == c"C"
    }
}

/// Whether the bytes of all lists lie in one buffer from its beginning.
///
/// # Safety
/// The array is valid, and its schema is as [`is_pixels`] wants it.
unsafe fn is_dense(array: &ArrowArray) -> bool {
    if array.offset != 0 || array.length < 1 || array.n_children != 1 {
        return false;
    }
    // SAFETY: a valid array has as many children and buffers as it says.
    unsafe {
        let child = &**array.children;
        let all = array.length.checked_mul(PIXEL as i64);
        let enough = child.offset == 0 && all.is_some_and(|bytes| bytes <= child.length);
        enough && child.n_buffers == 2 && !(*child.buffers.add(1)).is_null()
    }
}
