//! The unsafe blocks of this crate's data types and adaptors, in one place.

use crate::abi::PluginRef;
use crate::data::{Element, Reduce};
use abi_stable::library::{CheckTypeLayout, LibHeader, RootModuleResult};
use abi_stable::prefix_type::{PrefixRef, WithMetadata_ as WithMetadata};
use std::ffi::c_void;
use std::mem::ManuallyDrop;

/// The row of `length` elements of `T` that starts `offset` elements after `data`.
///
/// Only [`ArrayMut`](crate::data::ArrayMut) calls it: its constructor has checked that every row of
/// its shape lies inside a buffer of `T` that it borrows mutably, and `row_mut` has checked index and
/// type.
pub(crate) fn row_of<'a, T: Element>(data: *mut u8, offset: usize, length: usize) -> &'a mut [T] {
    // SAFETY: see above; `data` comes from `<[T]>::as_mut_ptr`, so it is aligned for `T`, and the
    // returned borrow is tied to the `&mut self` of the caller, so rows don't alias.
    unsafe { std::slice::from_raw_parts_mut(data.cast::<T>().add(offset), length) }
}

/// A prefix struct for one call.
///
/// Only `lend` calls it: it passes the result to a closure that must accept every lifetime, so
/// neither the reference nor what it borrows can be kept.
pub(crate) fn as_prefix<T, P>(fields: &WithMetadata<T, P>) -> PrefixRef<P> {
    // SAFETY: see above; the receiver reads the fields while the caller still borrows them.
    unsafe { fields.as_prefix() }
}

/// The closure behind the `reduce_data` of a step's context; none where there is none.
pub(crate) fn reduce_of<'a>(data: *const c_void) -> Option<Reduce<'a>> {
    // SAFETY: `data` is null or what `StepContext::lend` made of a `&Reduce` that lives during the
    // call in which it is used.
    unsafe { data.cast::<Reduce<'a>>().as_ref() }.copied()
}

/// Drops the value that a guard holds.
pub(crate) fn drop_once<T>(inner: &mut ManuallyDrop<T>) {
    // SAFETY: only `Guarded::drop` calls it, once, and nothing uses the value after.
    unsafe { ManuallyDrop::drop(inner) }
}

/// The header of a plugin, for [`export_plugin!`](crate::export_plugin).
pub(crate) const fn plugin_header(constructor: extern "C" fn() -> RootModuleResult) -> LibHeader {
    // SAFETY: the macro's constructor returns the erased `PluginRef` of `sdk::export::root_module`.
    unsafe { LibHeader::from_constructor::<PluginRef>(constructor, CheckTypeLayout::Yes) }
}
