//! What a dependent integration can hang under.

use super::Refusal;
use super::refusal::list;
use crate::store::integrations::Integration;

/// Integrations of the service that a new one depends on.
#[derive(Debug)]
pub struct Candidates {
    service: String,
    parent: String,
    /// Those whose tree has the service already.
    taken: Vec<Integration>,
    /// The others, oldest first.
    free: Vec<Integration>,
}

impl Candidates {
    pub(super) fn new(service: &str, parent: &str, all: &[Integration]) -> Self {
        let has_it = |candidate: &&Integration| {
            all.iter().any(|one| one.root_id == candidate.root_id && one.service == service)
        };
        let fits = all.iter().filter(|candidate| candidate.service == parent);
        let (taken, free) = fits.partition::<Vec<_>, _>(has_it);
        Self {
            service: service.to_owned(),
            parent: parent.to_owned(),
            taken: taken.into_iter().cloned().collect(),
            free: free.into_iter().cloned().collect(),
        }
    }

    /// Those to choose from; none: nothing can be made.
    pub fn offered(&self) -> Result<&[Integration], Refusal> {
        match (self.free.as_slice(), self.taken.as_slice()) {
            ([], []) => Err(Refusal::NoParent {
                service: self.service.clone(),
                parent: self.parent.clone(),
            }),
            ([], taken) => Err(Refusal::Conflict(format!(
                "there is a {} already under each {} integration ({})",
                self.service,
                self.parent,
                list(&ids(taken))
            ))),
            (free, _) => Ok(free),
        }
    }

    /// The one with this number, counted from 1. Empty: the first.
    pub fn numbered(&self, answer: &str) -> Result<&Integration, Refusal> {
        let offered = self.offered()?;
        let number = match answer.trim() {
            "" => Ok(1),
            number => number.parse::<usize>(),
        };
        let found = number.ok().and_then(|number| offered.get(number.checked_sub(1)?));
        found.ok_or_else(|| {
            let reason = format!("must be a number from 1 to {}", offered.len());
            Refusal::invalid("dependency_choice", reason)
        })
    }

    /// The one with this id or table, also one whose tree has the service: the store will refuse it.
    pub(super) fn named(&self, name: &str) -> Result<&Integration, Refusal> {
        let mut all = self.free.iter().chain(&self.taken);
        all.find(|one| one.id == name || one.table_name == name).ok_or_else(|| {
            let all: Vec<Integration> = self.free.iter().chain(&self.taken).cloned().collect();
            Refusal::Conflict(format!(
                "`{name}` is no {} integration; there are: {}",
                self.parent,
                list(&ids(&all))
            ))
        })
    }

    /// The only one there is, or the only one that is left.
    pub(super) fn only(&self) -> Result<&Integration, Refusal> {
        match (self.offered()?, self.taken.as_slice()) {
            ([only], _) => Ok(only),
            (several, _) => Err(Refusal::Conflict(format!(
                "several {} integrations: choose by --depends-on {}",
                self.parent,
                ids(several).join(" | ")
            ))),
        }
    }
}

fn ids(integrations: &[Integration]) -> Vec<&str> {
    integrations.iter().map(|integration| integration.id.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integration(id: &str, service: &str, root: &str) -> Integration {
        Integration {
            id: id.to_owned(),
            organization_id: 1,
            plugin: "p".to_owned(),
            service: service.to_owned(),
            table_name: format!("{service}_{id}"),
            depends_on: None,
            root_id: root.to_owned(),
            created_at: 0,
        }
    }

    #[test]
    fn a_tree_has_a_service_once() {
        let mut all = vec![integration("a", "list", "a"), integration("b", "list", "b")];
        let candidates = Candidates::new("events", "list", &all);
        assert_eq!(candidates.numbered("").unwrap().id, "a");
        assert_eq!(candidates.numbered(" 2 ").unwrap().id, "b");
        for wrong in ["0", "3", "-1", "x"] {
            assert!(matches!(candidates.numbered(wrong), Err(Refusal::Invalid { .. })), "{wrong}");
        }
        assert!(matches!(candidates.only(), Err(Refusal::Conflict(_))));

        all.push(integration("c", "events", "a"));
        let candidates = Candidates::new("events", "list", &all);
        assert_eq!(candidates.only().unwrap().id, "b");
        assert_eq!(candidates.numbered("1").unwrap().id, "b");
        assert_eq!(candidates.named("list_a").unwrap().id, "a");

        all.push(integration("d", "events", "b"));
        let candidates = Candidates::new("events", "list", &all);
        assert!(matches!(candidates.offered(), Err(Refusal::Conflict(_))));
        let candidates = Candidates::new("events", "list", &[]);
        assert!(matches!(candidates.offered(), Err(Refusal::NoParent { .. })));
    }
}
