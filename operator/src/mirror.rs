//! What a watch shows, reduced to the facts that decisions need, grouped by AgentPool.
//!
//! A reflector of whole objects would cost about ten times the memory.

use futures::{Stream, StreamExt};
use kube::runtime::watcher::{self, Event};
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::watch;

/// Names an AgentPool.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for PoolKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// An object, reduced.
pub struct Entry<F> {
    /// The AgentPool that it belongs to.
    pub pool: PoolKey,
    /// The object's name.
    pub name: String,
    /// What is known of it.
    pub fact: F,
}

impl<F: Clone> Entry<F> {
    fn parts(&self) -> (PoolKey, String, F) {
        (self.pool.clone(), self.name.clone(), self.fact.clone())
    }
}

type Items<F> = HashMap<PoolKey, HashMap<String, (usize, F)>>;

/// The facts of one kind of object.
pub struct Mirror<F> {
    items: RwLock<Items<F>>,
    unready: watch::Sender<usize>,
}

impl<F: Clone> Mirror<F> {
    /// An empty mirror that is fed by so many watches.
    pub fn new(watches: usize) -> Self {
        Self {
            items: RwLock::new(HashMap::new()),
            unready: watch::Sender::new(watches),
        }
    }

    /// The facts of one AgentPool.
    pub fn of(&self, pool: &PoolKey) -> Vec<F> {
        self.read()
            .get(pool)
            .map(|items| items.values().map(|(_, fact)| fact.clone()).collect())
            .unwrap_or_default()
    }

    /// One fact.
    pub fn find(&self, pool: &PoolKey, name: &str) -> Option<F> {
        self.read()
            .get(pool)?
            .get(name)
            .map(|(_, fact)| fact.clone())
    }

    /// All facts with their AgentPool.
    pub fn all(&self) -> Vec<(PoolKey, F)> {
        let items = self.read();
        let all = items
            .iter()
            .flat_map(|(pool, items)| items.values().map(|(_, fact)| (pool.clone(), fact.clone())));
        all.collect()
    }

    /// Whether every watch has listed once.
    pub fn is_ready(&self) -> bool {
        *self.unready.borrow() == 0
    }

    /// Waits until every watch has listed once.
    pub async fn ready(&self) {
        // The sender lives in self: this cannot fail while somebody waits.
        let _ = self
            .unready
            .subscribe()
            .wait_for(|unready| *unready == 0)
            .await;
    }

    fn read(&self) -> RwLockReadGuard<'_, Items<F>> {
        self.items.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Items<F>> {
        self.items.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, watch: usize, entry: Entry<F>) {
        self.write()
            .entry(entry.pool)
            .or_default()
            .insert(entry.name, (watch, entry.fact));
    }

    fn remove(&self, pool: &PoolKey, name: &str) {
        let mut items = self.write();
        if let Some(of_pool) = items.get_mut(pool) {
            of_pool.remove(name);
            if of_pool.is_empty() {
                items.remove(pool);
            }
        }
    }

    /// Replaces all that one watch has shown.
    fn replace(&self, watch: usize, entries: Vec<Entry<F>>) {
        let mut items = self.write();
        for of_pool in items.values_mut() {
            of_pool.retain(|_, (from, _)| *from != watch);
        }
        for entry in entries {
            items
                .entry(entry.pool)
                .or_default()
                .insert(entry.name, (watch, entry.fact));
        }
        items.retain(|_, of_pool| !of_pool.is_empty());
    }
}

/// Feeds a mirror from one watch until it ends. `changed` is told the AgentPool of every change.
pub async fn follow<K, F: Clone>(
    mirror: &Mirror<F>,
    watch: usize,
    events: impl Stream<Item = Result<Event<K>, watcher::Error>>,
    reduce: impl Fn(K) -> Option<Entry<F>>,
    changed: impl Fn(&PoolKey, &str, Option<&F>),
) {
    let mut events = std::pin::pin!(events);
    let mut listed = Vec::new();
    let mut first = true;
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(object)) => listed.extend(reduce(object)),
            Ok(Event::InitDone) => {
                let pools: Vec<PoolKey> = mirror.read().keys().cloned().collect();
                let told: Vec<_> = listed.iter().map(Entry::parts).collect();
                // First shown, then told: whoever is told may look at once, on another thread.
                mirror.replace(watch, std::mem::take(&mut listed));
                for (pool, name, fact) in &told {
                    changed(pool, name, Some(fact));
                }
                for pool in pools {
                    changed(&pool, "", None);
                }
                if std::mem::take(&mut first) {
                    mirror
                        .unready
                        .send_modify(|unready| *unready = unready.saturating_sub(1));
                }
            }
            Ok(Event::Apply(object)) => {
                if let Some(entry) = reduce(object) {
                    let (pool, name, fact) = entry.parts();
                    mirror.put(watch, entry);
                    changed(&pool, &name, Some(&fact));
                }
            }
            Ok(Event::Delete(object)) => {
                if let Some(entry) = reduce(object) {
                    mirror.remove(&entry.pool, &entry.name);
                    changed(&entry.pool, &entry.name, None);
                }
            }
            Err(error) => tracing::warn!(%error, "a watch was interrupted; it is resumed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;
    use std::sync::Mutex;

    fn entry(text: &'static str) -> Option<Entry<&'static str>> {
        let pool = PoolKey {
            namespace: "ci".to_owned(),
            name: text[..1].to_owned(),
        };
        Some(Entry {
            pool,
            name: text.to_owned(),
            fact: text,
        })
    }

    #[tokio::test]
    async fn a_mirror_shows_what_the_watch_showed_last() {
        let mirror = Mirror::new(1);
        let woken = Mutex::new(Vec::new());
        let events = [
            Event::Init,
            Event::InitApply("a1"),
            Event::InitApply("b1"),
            Event::InitDone,
            Event::Apply("a2"),
            Event::Delete("a1"),
            Event::Init,
            Event::InitApply("a3"),
            Event::InitDone,
        ];
        assert!(!mirror.is_ready());
        follow(
            &mirror,
            0,
            stream::iter(events.map(Ok)),
            entry,
            |pool, _, _| {
                woken.lock().unwrap().push(pool.name.clone());
            },
        )
        .await;
        assert!(mirror.is_ready());
        let key = |name: &str| PoolKey {
            namespace: "ci".to_owned(),
            name: name.to_owned(),
        };
        assert_eq!(mirror.of(&key("a")), ["a3"]);
        assert!(
            mirror.of(&key("b")).is_empty(),
            "a list replaces what an earlier one showed"
        );
        assert!(
            woken
                .into_inner()
                .unwrap()
                .iter()
                .filter(|pool| *pool == "b")
                .count()
                >= 2
        );
    }

    #[tokio::test]
    async fn whoever_is_told_of_an_object_finds_it() {
        let mirror = Mirror::new(1);
        let told = Mutex::new(0);
        let events = [
            Event::Init,
            Event::InitApply("a1"),
            Event::InitDone,
            Event::Apply("a2"),
        ];
        follow(
            &mirror,
            0,
            stream::iter(events.map(Ok)),
            entry,
            |pool, name, fact| {
                assert_eq!(mirror.find(pool, name).as_ref(), fact);
                *told.lock().unwrap() += 1;
            },
        )
        .await;
        assert_eq!(told.into_inner().unwrap(), 2);
    }
}
