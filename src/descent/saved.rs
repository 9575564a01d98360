//! The saved form of [`State`], with a version.

use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct};

use super::state::{Inner, State};
use crate::linalg::saved::Version;

impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut saved = serializer.serialize_struct("State", 2)?;
        saved.serialize_field("version", &Version::<1>)?;
        saved.serialize_field("state", &self.inner)?;
        saved.end()
    }
}

/// What is read, before its checks.
#[derive(Deserialize)]
#[serde(rename = "State", deny_unknown_fields)]
pub(super) struct Read {
    #[serde(rename = "version")]
    _version: Version<1>,
    state: Inner,
}

impl TryFrom<Read> for State {
    type Error = String;

    fn try_from(Read { state: inner, .. }: Read) -> Result<Self, String> {
        if let Inner::UnderWay(run) = &inner {
            run.check().map_err(|error| format!("state of a run: {error}"))?;
        }
        Ok(Self { inner })
    }
}
