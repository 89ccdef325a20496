//! The engines that can keep the index.

use serde::Deserialize;

/// Which engine keeps the index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineName {
    /// sled 0.34
    #[default]
    Sled,
    /// fjall 3
    Fjall,
}

impl EngineName {
    /// As in the config.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sled => "sled",
            Self::Fjall => "fjall",
        }
    }
}
