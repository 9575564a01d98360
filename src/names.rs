//! Choices as words: what people type in a flag or a file, and read in a message.

/// Gives an enum of plain choices its words: `Display`, `FromStr` and all of them as `ALL`.
///
/// Words are in lower case with hyphens, like flags of programs. `FromStr` accepts exactly what `Display` writes.
macro_rules! named {
    ($type:ident, $what:literal: $($variant:ident = $word:literal),+ $(,)?) => {
        impl $type {
            /// All choices, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word for this choice, in lower case with hyphens.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::error::Error;

            /// Reads the word that `Display` writes.
            ///
            /// # Errors
            ///
            /// [`Error::UnknownName`](crate::Error::UnknownName) for any other word.
            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($crate::error::Error::UnknownName {
                        what: $what,
                        word: word.to_owned(),
                        accepted: &[$($word),+],
                    }),
                }
            }
        }
    };
}

pub(crate) use named;
