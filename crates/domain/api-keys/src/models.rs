//! The models that a key may be used for.

/// Models by name or by how the name begins; none means every model.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelAllowList(Vec<String>);

/// Why these are not the models of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidModels {
    /// The list is too long.
    #[error("a key names at most {} models", ModelAllowList::MOST)]
    TooMany,
    /// Not the name of a model.
    #[error("a model has 1 to 128 letters, digits and . _ : / @ -, and may end in *")]
    Name,
}

impl ModelAllowList {
    /// The longest list.
    pub const MOST: usize = 100;

    /// Checks the entries, and drops what is said twice. An entry that ends in `*` stands for all names that begin with what precedes
    /// it; the `*` counts among the 128 characters.
    pub fn parse<T: Into<String>>(entries: impl IntoIterator<Item = T>) -> Result<Self, InvalidModels> {
        let mut models = Vec::new();
        for entry in entries {
            let entry = entry.into();
            if !is_entry(&entry) {
                return Err(InvalidModels::Name);
            }
            if models.contains(&entry) {
                continue;
            }
            if models.len() == Self::MOST {
                return Err(InvalidModels::TooMany);
            }
            models.push(entry);
        }
        Ok(Self(models))
    }

    /// Whether the key may be used for every model.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the key may be used for the model.
    pub fn allows(&self, model: &str) -> bool {
        self.0.is_empty()
            || self.0.iter().any(|entry| match entry.strip_suffix('*') {
                Some(beginning) => model.starts_with(beginning),
                None => model == entry,
            })
    }

    /// The entries, in the order in which they were given.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

fn is_entry(text: &str) -> bool {
    let name = text.strip_suffix('*').unwrap_or(text);
    (1..=128).contains(&text.len()) && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"._:/@-".contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_model_named_is_every_model() {
        let every = ModelAllowList::default();
        assert!(every.allows("anything") && every.allows(""));
        assert_eq!(ModelAllowList::parse([""; 0]), Ok(every));
    }

    #[test]
    fn a_model_is_allowed_by_its_name_or_by_its_beginning() {
        let list = ModelAllowList::parse(["llama-3", "org/mix:*"]).unwrap();
        for model in ["llama-3", "org/mix:", "org/mix:8x7b", "org/mix:*"] {
            assert!(list.allows(model), "{model}");
        }
        for model in ["", "llama-3.1", "Llama-3", "llama-", "org/mix", "x-org/mix:8", "*"] {
            assert!(!list.allows(model), "{model}");
        }
        assert!(ModelAllowList::parse(["*"]).unwrap().allows("anything"));
    }

    #[test]
    fn an_entry_is_a_short_name() {
        let longest = "x".repeat(128);
        for text in ["a", "*", "A.b_c:d/e@f-0", "a*", longest.as_str()] {
            assert!(ModelAllowList::parse([text]).is_ok(), "{text}");
        }
        let too_long = "x".repeat(129);
        let too_long_with_star = format!("{longest}*");
        for text in ["", "a b", "**", "*a", "a*b", "é", "a\n", "a,b", too_long.as_str(), too_long_with_star.as_str()] {
            assert_eq!(ModelAllowList::parse([text]), Err(InvalidModels::Name), "{text:?}");
        }
    }

    #[test]
    fn a_list_has_a_hundred_entries_at_most_each_once() {
        let names = |count: usize| (0..count).map(|number| format!("model-{number}"));
        assert_eq!(ModelAllowList::parse(names(100)).unwrap().iter().count(), 100);
        assert_eq!(ModelAllowList::parse(names(101)), Err(InvalidModels::TooMany));
        assert_eq!(ModelAllowList::parse(names(100).chain(names(100))), ModelAllowList::parse(names(100)));
    }
}
