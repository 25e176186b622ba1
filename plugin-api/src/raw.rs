//! The unsafe blocks of this crate's data types and adaptors, in one place.

use crate::abi::PluginRef;
use crate::data::Element;
use abi_stable::library::{CheckTypeLayout, LibHeader, RootModuleResult};
use abi_stable::prefix_type::{PrefixRef, WithMetadata_ as WithMetadata};
use abi_stable::std_types::{RSlice, RStr};
use std::mem::ManuallyDrop;

/// The row of `length` elements of `T` that starts `offset` elements behind `data`.
///
/// Only [`ArrayMut`](crate::data::ArrayMut) calls it: its constructor has checked that every row of its shape lies inside a
/// buffer of `T` that it borrows mutably, and `row_mut` has checked the index and the type.
pub(crate) fn row_of<'a, T: Element>(data: *mut u8, offset: usize, length: usize) -> &'a mut [T] {
    // SAFETY: see above; `data` comes from `<[T]>::as_mut_ptr`, so it is aligned for `T`, and the returned borrow is tied to
    // the `&mut self` of the caller, so rows don't alias.
    unsafe { std::slice::from_raw_parts_mut(data.cast::<T>().add(offset), length) }
}

/// A string slice as an argument of one call across the interface.
///
/// The receiving shims copy what they get before they hand it to the author's code, so nothing outlives the call.
pub(crate) fn lend_str(text: &str) -> RStr<'static> {
    // SAFETY: `lend::*` builds an argument from it, calls, and returns while `text` is still borrowed by the caller.
    unsafe { std::mem::transmute::<RStr<'_>, RStr<'static>>(RStr::from_str(text)) }
}

/// A slice as an argument of one call across the interface; see [`lend_str`].
pub(crate) fn lend_slice<T>(values: &[T]) -> RSlice<'static, T> {
    // SAFETY: as in `lend_str`.
    unsafe { std::mem::transmute::<RSlice<'_, T>, RSlice<'static, T>>(RSlice::from_slice(values)) }
}

/// A prefix struct that lives as long as one call.
pub(crate) fn as_prefix<T, P>(fields: &WithMetadata<T, P>) -> PrefixRef<P> {
    // SAFETY: as in `lend_str`; the receiver reads its fields during the call only.
    unsafe { fields.as_prefix() }
}

/// Drops what a guard holds.
pub(crate) fn drop_once<T>(inner: &mut ManuallyDrop<T>) {
    // SAFETY: only `Guarded::drop` calls it, once, and nothing uses the value after.
    unsafe { ManuallyDrop::drop(inner) }
}

/// The header of a plugin, for [`export_plugin!`](crate::export_plugin).
pub(crate) const fn plugin_header(constructor: extern "C" fn() -> RootModuleResult) -> LibHeader {
    // SAFETY: the macro's constructor returns the erased `PluginRef` of `sdk::export::root_module`.
    unsafe { LibHeader::from_constructor::<PluginRef>(constructor, CheckTypeLayout::Yes) }
}
