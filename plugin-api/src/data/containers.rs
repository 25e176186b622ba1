//! Text, lists and optional values as they cross the interface. They behave like `String`, `Vec` and
//! `Option`, convert from and to them, and hide what they are made of.
//!
//! Their methods are inline, so that a program that uses them doesn't link the rest of this crate: the
//! launcher must not link libtorch, whose bindings another crate's feature may have switched on.

use abi_stable::StableAbi;
use abi_stable::std_types::{ROption, RString, RVec};
use std::borrow::Borrow;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// An owned UTF-8 string.
#[repr(transparent)]
#[derive(StableAbi, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(RString);

impl Text {
    /// The empty text.
    #[inline]
    pub const fn new() -> Self {
        Text(RString::new())
    }

    #[inline]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    #[inline]
    pub fn into_string(self) -> String {
        self.0.into_string()
    }
}

impl Deref for Text {
    type Target = str;
    #[inline]
    fn deref(&self) -> &str {
        self.0.as_str()
    }
}

impl AsRef<str> for Text {
    #[inline]
    fn as_ref(&self) -> &str {
        self
    }
}

impl Borrow<str> for Text {
    #[inline]
    fn borrow(&self) -> &str {
        self
    }
}

impl fmt::Display for Text {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl fmt::Debug for Text {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl From<&str> for Text {
    #[inline]
    fn from(text: &str) -> Self {
        Text(text.into())
    }
}

impl From<String> for Text {
    #[inline]
    fn from(text: String) -> Self {
        Text(text.into())
    }
}

impl From<&String> for Text {
    #[inline]
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<Text> for String {
    #[inline]
    fn from(text: Text) -> Self {
        text.into_string()
    }
}

impl PartialEq<str> for Text {
    #[inline]
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Text {
    #[inline]
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialEq<String> for Text {
    #[inline]
    fn eq(&self, other: &String) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<Text> for str {
    #[inline]
    fn eq(&self, other: &Text) -> bool {
        self == other.as_str()
    }
}

impl PartialEq<Text> for &str {
    #[inline]
    fn eq(&self, other: &Text) -> bool {
        *self == other.as_str()
    }
}

impl PartialEq<Text> for String {
    #[inline]
    fn eq(&self, other: &Text) -> bool {
        self == other.as_str()
    }
}

/// An owned list.
#[repr(transparent)]
#[derive(StableAbi, Clone, PartialEq, Eq)]
pub struct List<T>(RVec<T>);

impl<T> List<T> {
    /// The empty list.
    #[inline]
    pub const fn new() -> Self {
        List(RVec::new())
    }

    #[inline]
    pub fn push(&mut self, value: T) {
        self.0.push(value);
    }

    #[inline]
    pub fn clear(&mut self) {
        self.0.clear();
    }

    #[inline]
    pub fn as_slice(&self) -> &[T] {
        self.0.as_slice()
    }

    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        self.0.as_mut_slice()
    }

    /// The list as a `Vec`, without a copy where it was made in this library.
    #[inline]
    pub fn into_vec(self) -> Vec<T> {
        self.0.into_vec()
    }

    /// A list of copies of a slice's elements.
    #[inline]
    pub fn copied_from(values: &[T]) -> Self
    where
        T: Clone,
    {
        values.to_vec().into()
    }
}

impl<T> Default for List<T> {
    #[inline]
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Deref for List<T> {
    type Target = [T];
    #[inline]
    fn deref(&self) -> &[T] {
        self.0.as_slice()
    }
}

impl<T> DerefMut for List<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        self.0.as_mut_slice()
    }
}

impl<T> AsRef<[T]> for List<T> {
    #[inline]
    fn as_ref(&self) -> &[T] {
        self
    }
}

impl<T: fmt::Debug> fmt::Debug for List<T> {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<T> From<Vec<T>> for List<T> {
    #[inline]
    fn from(values: Vec<T>) -> Self {
        List(values.into())
    }
}

impl<T> From<List<T>> for Vec<T> {
    #[inline]
    fn from(list: List<T>) -> Self {
        list.into_vec()
    }
}

impl<T> FromIterator<T> for List<T> {
    #[inline]
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        values.into_iter().collect::<Vec<T>>().into()
    }
}

impl<T> Extend<T> for List<T> {
    #[inline]
    fn extend<I: IntoIterator<Item = T>>(&mut self, values: I) {
        self.0.extend(values);
    }
}

impl<T> IntoIterator for List<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;
    #[inline]
    fn into_iter(self) -> Self::IntoIter {
        self.into_vec().into_iter()
    }
}

impl<'a, T> IntoIterator for &'a List<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;
    #[inline]
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a, T> IntoIterator for &'a mut List<T> {
    type Item = &'a mut T;
    type IntoIter = std::slice::IterMut<'a, T>;
    #[inline]
    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

impl<T: PartialEq<U>, U, const N: usize> PartialEq<[U; N]> for List<T> {
    #[inline]
    fn eq(&self, other: &[U; N]) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl<T: PartialEq<U>, U> PartialEq<[U]> for List<T> {
    #[inline]
    fn eq(&self, other: &[U]) -> bool {
        self.as_slice() == other
    }
}

impl<T: PartialEq<U>, U> PartialEq<&[U]> for List<T> {
    #[inline]
    fn eq(&self, other: &&[U]) -> bool {
        self.as_slice() == *other
    }
}

impl<T: PartialEq<U>, U> PartialEq<Vec<U>> for List<T> {
    #[inline]
    fn eq(&self, other: &Vec<U>) -> bool {
        self.as_slice() == other.as_slice()
    }
}

/// A value or none.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq)]
pub struct Optional<T>(ROption<T>);

impl<T> Optional<T> {
    /// No value.
    #[inline]
    pub const fn none() -> Self {
        Optional(ROption::RNone)
    }

    #[inline]
    pub const fn some(value: T) -> Self {
        Optional(ROption::RSome(value))
    }

    #[inline]
    pub fn as_ref(&self) -> Option<&T> {
        match &self.0 {
            ROption::RSome(value) => Some(value),
            ROption::RNone => None,
        }
    }

    #[inline]
    pub fn as_mut(&mut self) -> Option<&mut T> {
        match &mut self.0 {
            ROption::RSome(value) => Some(value),
            ROption::RNone => None,
        }
    }

    #[inline]
    pub fn into_option(self) -> Option<T> {
        self.0.into_option()
    }

    #[inline]
    pub fn is_some(&self) -> bool {
        self.as_ref().is_some()
    }

    #[inline]
    pub fn is_none(&self) -> bool {
        self.as_ref().is_none()
    }
}

impl<T> Default for Optional<T> {
    #[inline]
    fn default() -> Self {
        Self::none()
    }
}

impl<T: fmt::Debug> fmt::Debug for Optional<T> {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.as_ref(), f)
    }
}

impl<T> From<Option<T>> for Optional<T> {
    #[inline]
    fn from(value: Option<T>) -> Self {
        Optional(value.into())
    }
}

impl<T> From<Optional<T>> for Option<T> {
    #[inline]
    fn from(value: Optional<T>) -> Self {
        value.into_option()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_behave_like_those_of_the_standard_library() {
        let text = Text::from("grün");
        assert!(text == "grün" && text.starts_with("gr") && !text.is_empty());
        assert_eq!(format!("{text} {text:?}"), "grün \"grün\"");
        let mut list: List<u8> = (0..3).collect();
        list.push(9);
        list.extend([1]);
        list[0] = 7;
        assert_eq!(list, [7, 1, 2, 9, 1]);
        assert_eq!(list.iter().count(), 5);
        assert_eq!(list.clone().into_iter().sum::<u8>(), 20);
        assert_eq!(Optional::some(3).into_option(), Some(3));
        assert!(Optional::<u8>::default().is_none());
        assert_eq!(format!("{:?}", Optional::from(Some(1))), "Some(1)");
    }
}
