//! What is known of a collector besides its metrics.

use super::Desc;
use crate::types::Query;

/// A collector as data, in the file of its metrics. Its name is the name of that file.
#[derive(Debug)]
pub struct CollectorDesc {
    /// Heading of its metrics in `docs/metrics.md`.
    pub title: &'static str,
    /// What its metrics share, in Markdown; may be empty.
    pub about: &'static str,
    /// The role that the token needs in a project, in words.
    pub role: &'static str,
    /// The tier that the project needs, in words.
    pub tier: &'static str,
    /// Requests to GitLab, in words.
    pub requests: &'static str,
    /// The GraphQL queries that it is read by, which `check` tries.
    pub queries: &'static [Query],
    /// Its metrics, in the order of `/metrics`.
    pub entries: &'static [&'static Desc],
}

/// Makes [`Collector`](super::Collector) of the list of collectors and their files.
macro_rules! collectors {
    ($($variant:ident => $name:ident,)*) => {
        /// Who measures a metric; the value of the label `collector_type`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Collector {
            $(
                #[doc = concat!("`", stringify!($name), "`")]
                $variant,
            )*
            /// The exporter itself.
            Exporter,
            /// The metrics of gitlab-ci-pipelines-exporter, in addition to ours.
            Compat,
        }

        impl Collector {
            const COUNT: usize = [$(Self::$variant),*].len();

            /// Every collector of data from GitLab, in the order in which they are listed to users.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$variant),*];

            /// The value of the label `collector_type`, and the key under `collectors` in the
            /// settings.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($name),)*
                    Self::Exporter => "exporter",
                    Self::Compat => "compat",
                }
            }

            /// What is known of it; none for the exporter and for what is only shown under other names, which
            /// need nothing of GitLab.
            #[must_use]
            pub fn desc(self) -> Option<&'static CollectorDesc> {
                match self {
                    $(Self::$variant => Some(&$name::COLLECTOR),)*
                    Self::Exporter | Self::Compat => None,
                }
            }

            /// Its metrics, in the order of `/metrics`.
            #[must_use]
            pub fn entries(self) -> &'static [&'static Desc] {
                match self {
                    Self::Exporter => exporter::ENTRIES,
                    Self::Compat => compat::ENTRIES,
                    _ => self.desc().map_or(&[], |desc| desc.entries),
                }
            }
        }
    };
}

pub(super) use collectors;
