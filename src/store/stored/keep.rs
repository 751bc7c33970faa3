//! Between the types of the program and the stored ones.
//!
//! The macros take both apart in full: a field or variant that is added to either does not compile
//! until it is said here what is stored of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Invalid;
use crate::clock::UnixSeconds;
use crate::types::{JobId, PipelineId, ProjectId, Text};

/// A type of the program, and what is stored of it.
pub(crate) trait Keep: Sized {
    /// What is stored.
    type Stored: Serialize + DeserializeOwned;

    /// What is stored of this.
    fn to_stored(&self) -> Self::Stored;

    /// This, of what is stored.
    fn from_stored(stored: Self::Stored) -> Result<Self, Invalid>;
}

/// A stored map, in the order of its keys.
pub(crate) type Map<K, V> = Vec<(K, V)>;

/// Types that are stored as they are.
macro_rules! as_it_is {
    ($($type:ty),*) => {$(
        impl Keep for $type {
            type Stored = Self;

            fn to_stored(&self) -> Self {
                self.clone()
            }

            fn from_stored(stored: Self) -> Result<Self, Invalid> {
                Ok(stored)
            }
        }
    )*};
}

as_it_is!(bool, u8, u16, u32, u64, i64, f64, String, Text);

/// Types that are stored as the number in them.
macro_rules! as_number {
    ($($type:ident($number:ty)),*) => {$(
        impl Keep for $type {
            type Stored = $number;

            fn to_stored(&self) -> $number {
                self.0
            }

            fn from_stored(stored: $number) -> Result<Self, Invalid> {
                Ok(Self(stored))
            }
        }
    )*};
}

as_number!(
    UnixSeconds(i64),
    ProjectId(u64),
    PipelineId(u64),
    JobId(u64)
);

impl Keep for usize {
    type Stored = u64;

    fn to_stored(&self) -> u64 {
        *self as u64
    }

    fn from_stored(stored: u64) -> Result<Self, Invalid> {
        Self::try_from(stored).map_err(|error| Invalid(error.to_string()))
    }
}

impl<T: Keep> Keep for Option<T> {
    type Stored = Option<T::Stored>;

    fn to_stored(&self) -> Self::Stored {
        self.as_ref().map(T::to_stored)
    }

    fn from_stored(stored: Self::Stored) -> Result<Self, Invalid> {
        stored.map(T::from_stored).transpose()
    }
}

impl<T: Keep> Keep for Box<T> {
    type Stored = T::Stored;

    fn to_stored(&self) -> Self::Stored {
        T::to_stored(self)
    }

    fn from_stored(stored: Self::Stored) -> Result<Self, Invalid> {
        T::from_stored(stored).map(Self::new)
    }
}

/// Lists of any kind.
macro_rules! list {
    ($($list:ident $(: $bound:ident)?),*) => {$(
        impl<T: Keep $(+ $bound)?> Keep for $list<T> {
            type Stored = Vec<T::Stored>;

            fn to_stored(&self) -> Self::Stored {
                self.iter().map(T::to_stored).collect()
            }

            fn from_stored(stored: Self::Stored) -> Result<Self, Invalid> {
                stored.into_iter().map(T::from_stored).collect()
            }
        }
    )*};
}

list!(Vec, VecDeque, BTreeSet: Ord);

impl<K: Keep + Ord, V: Keep> Keep for BTreeMap<K, V> {
    type Stored = Map<K::Stored, V::Stored>;

    fn to_stored(&self) -> Self::Stored {
        let entries = self.iter();
        entries
            .map(|(key, value)| (key.to_stored(), value.to_stored()))
            .collect()
    }

    fn from_stored(stored: Self::Stored) -> Result<Self, Invalid> {
        let entries = stored.into_iter();
        entries
            .map(|(key, value)| Ok((K::from_stored(key)?, V::from_stored(value)?)))
            .collect()
    }
}

/// Tuples.
macro_rules! tuple {
    ($($type:ident $place:tt),*) => {
        impl<$($type: Keep),*> Keep for ($($type),*) {
            type Stored = ($($type::Stored),*);

            fn to_stored(&self) -> Self::Stored {
                ($(self.$place.to_stored()),*)
            }

            fn from_stored(stored: Self::Stored) -> Result<Self, Invalid> {
                Ok(($($type::from_stored(stored.$place)?),*))
            }
        }
    };
}

tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);

/// A stored struct with the fields of a type of the program. A field that was stored under another
/// name first keeps that name in the recorded shape: `#[serde(rename = "…")]`. Fields after `without` are not
/// stored, and have their defaults after a start.
macro_rules! stored_struct {
    ($(#[$doc:meta])* $name:ident of $type:ty {
        $($(#[$attribute:meta])* $field:ident: $stored:ty),* $(,)?
    } $(without { $($left:ident),* })?) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        pub(crate) struct $name {
            $($(#[$attribute])* $field: $stored),*
        }

        impl $crate::store::stored::keep::Keep for $type {
            type Stored = $name;

            fn to_stored(&self) -> $name {
                let Self { $($field,)* $($($left: _),*)? } = self;
                $name {
                    $($field: $crate::store::stored::keep::Keep::to_stored($field)),*
                }
            }

            fn from_stored(stored: $name) -> Result<Self, $crate::store::stored::Invalid> {
                let $name { $($field),* } = stored;
                Ok(Self {
                    $($field: $crate::store::stored::keep::Keep::from_stored($field)?,)*
                    $($($left: Default::default()),*)?
                })
            }
        }
    };
}

/// A stored enum with the variants of one of the program; a variant holds one value at most.
macro_rules! stored_enum {
    ($(#[$doc:meta])* $name:ident of $type:ty {
        $($variant:ident $(($inner:ty))?),* $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        pub(crate) enum $name {
            $($variant $(($inner))?),*
        }

        impl $crate::store::stored::keep::Keep for $type {
            type Stored = $name;

            fn to_stored(&self) -> $name {
                match self {
                    $(stored_enum!(@pattern Self $variant value $(($inner))?) =>
                        stored_enum!(@to $name $variant value $(($inner))?)),*
                }
            }

            fn from_stored(stored: $name) -> Result<Self, $crate::store::stored::Invalid> {
                Ok(match stored {
                    $(stored_enum!(@pattern $name $variant value $(($inner))?) =>
                        stored_enum!(@from Self $variant value $(($inner))?)),*
                })
            }
        }
    };
    (@pattern $enum:ident $variant:ident $value:ident) => { $enum::$variant };
    (@pattern $enum:ident $variant:ident $value:ident ($inner:ty)) => { $enum::$variant($value) };
    (@to $enum:ident $variant:ident $value:ident) => { $enum::$variant };
    (@to $enum:ident $variant:ident $value:ident ($inner:ty)) => {
        $enum::$variant($crate::store::stored::keep::Keep::to_stored($value))
    };
    (@from $enum:ident $variant:ident $value:ident) => { $enum::$variant };
    (@from $enum:ident $variant:ident $value:ident ($inner:ty)) => {
        $enum::$variant($crate::store::stored::keep::Keep::from_stored($value)?)
    };
}

/// A type around one value, which is what is stored.
macro_rules! stored_as {
    ($type:ty: $stored:ty) => {
        impl $crate::store::stored::keep::Keep for $type {
            type Stored = $stored;

            fn to_stored(&self) -> $stored {
                $crate::store::stored::keep::Keep::to_stored(&self.0)
            }

            fn from_stored(stored: $stored) -> Result<Self, $crate::store::stored::Invalid> {
                Ok(Self($crate::store::stored::keep::Keep::from_stored(
                    stored,
                )?))
            }
        }
    };
}

pub(super) use {stored_as, stored_enum, stored_struct};
