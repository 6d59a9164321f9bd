//! Who is signed in, and ceremonies under way. Both live in memory only: a node that starts again knows nobody.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use acequia_types::{Digest, Timestamp};
use webauthn_rs::prelude::{DiscoverableAuthentication, PasskeyRegistration};

/// How long a session lasts without a request, in seconds.
const IDLE_S: i64 = 30 * 60;
/// How long it lasts at most, in seconds.
const LONGEST_S: i64 = 12 * 3600;
/// How long an authenticator may take, in seconds.
const CEREMONY_S: i64 = 5 * 60;
/// Sessions of people with passkeys at once; beyond it nobody new comes in until some have run out, and who is in stays in.
const MOST: usize = 100_000;
/// Ceremonies, and sessions of people with codes, at once; beyond it the oldest goes. Whoever fills them keeps nobody out for longer
/// than it takes to begin again.
const MOST_BEGUN: usize = 20_000;

/// Somebody who came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    /// Number of the account.
    pub(crate) account: String,
    /// By what.
    pub(crate) by: By,
    /// When the passkey was last used, or the code entered.
    pub(crate) since: Timestamp,
    seen: Timestamp,
    begun: Timestamp,
}

/// By what somebody came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum By {
    /// A code: it may add a passkey, and nothing else.
    Code(Digest),
    /// A passkey, by its name.
    Passkey(String),
}

/// A ceremony under way.
pub(crate) enum Ceremony {
    /// A passkey is made, for the session with this digest.
    Register { session: Digest, state: PasskeyRegistration },
    /// Somebody signs in.
    SignIn(DiscoverableAuthentication),
}

/// Nobody new comes in for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// A map in which the oldest gives way.
struct Ring<K, V> {
    map: HashMap<K, V>,
    /// Oldest first; what was taken meanwhile is skipped.
    order: VecDeque<K>,
}

impl<K: Clone + Eq + Hash, V> Default for Ring<K, V> {
    fn default() -> Self {
        Self { map: HashMap::new(), order: VecDeque::new() }
    }
}

impl<K: Clone + Eq + Hash, V> Ring<K, V> {
    fn insert(&mut self, key: K, value: V) {
        while self.order.len() >= MOST_BEGUN {
            if let Some(oldest) = self.order.pop_front() {
                self.map.remove(&oldest);
            }
        }
        self.order.push_back(key.clone());
        self.map.insert(key, value);
    }
}

#[derive(Default)]
pub(crate) struct Sessions {
    open: Mutex<HashMap<Digest, Session>>,
    /// Of people with codes.
    begun: Mutex<Ring<Digest, Session>>,
    ceremonies: Mutex<Ring<String, (Timestamp, Ceremony)>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is inside is whole after any panic: every change is one insertion or removal.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// 256 bits at random, in hexadecimal digits.
///
/// # Errors
/// When the system has no randomness.
pub(crate) fn random() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(hex::encode(bytes))
}

fn lasts(session: &Session, now: Timestamp) -> bool {
    now.unix_s() - session.seen.unix_s() <= IDLE_S
        && now.unix_s() - session.begun.unix_s() <= LONGEST_S
        // A clock that was set back ends sessions rather than making them last.
        && now >= session.begun
}

impl Sessions {
    /// Begins a session; its token goes to the browser and is kept as a digest.
    pub(crate) fn begin(&self, token: &str, account: String, by: By, now: Timestamp) -> Result<(), Full> {
        let session = Session { account, by, since: now, seen: now, begun: now };
        if matches!(session.by, By::Code(_)) {
            locked(&self.begun).insert(Digest::of(token.as_bytes()), session);
            return Ok(());
        }
        let mut open = locked(&self.open);
        if open.len() >= MOST {
            open.retain(|_, session| lasts(session, now));
        }
        if open.len() >= MOST {
            return Err(Full);
        }
        open.insert(Digest::of(token.as_bytes()), session);
        Ok(())
    }

    /// The session of a token, which goes on by being used.
    pub(crate) fn find(&self, token: &str, now: Timestamp) -> Option<(Digest, Session)> {
        let digest = Digest::of(token.as_bytes());
        let found = |map: &mut HashMap<Digest, Session>| {
            let session = map.get_mut(&digest)?;
            if !lasts(session, now) {
                map.remove(&digest);
                return None;
            }
            session.seen = now;
            Some((digest, session.clone()))
        };
        let open = found(&mut locked(&self.open));
        open.or_else(|| found(&mut locked(&self.begun).map))
    }

    pub(crate) fn end(&self, session: &Digest) {
        locked(&self.open).remove(session);
        locked(&self.begun).map.remove(session);
    }

    /// Keeps a ceremony until its answer comes.
    pub(crate) fn start(&self, name: &str, ceremony: Ceremony, now: Timestamp) {
        locked(&self.ceremonies).insert(name.to_owned(), (now, ceremony));
    }

    /// Takes a ceremony: whatever comes of it, its challenge is answered once.
    pub(crate) fn take(&self, name: &str, now: Timestamp) -> Option<Ceremony> {
        let (since, ceremony) = locked(&self.ceremonies).map.remove(name)?;
        (now >= since && now.unix_s() - since.unix_s() <= CEREMONY_S).then_some(ceremony)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_unix_s(1_800_000_000 + s)
    }

    #[test]
    fn whoever_begins_too_much_keeps_nobody_out() {
        let mut ring = Ring::<usize, usize>::default();
        for number in 0..MOST_BEGUN + 10 {
            ring.insert(number, number);
            if number == 5 {
                ring.map.remove(&5);
            }
        }
        assert_eq!((ring.map.len(), ring.order.len()), (MOST_BEGUN, MOST_BEGUN));
        assert!(!ring.map.contains_key(&9) && ring.map.contains_key(&10) && ring.map.contains_key(&(MOST_BEGUN + 9)));
        let sessions = Sessions::default();
        sessions.begin("owner", "a".to_owned(), By::Passkey("k".to_owned()), at(0)).unwrap();
        for number in 0..MOST_BEGUN + 1 {
            sessions.begin(&format!("code {number}"), "a".to_owned(), By::Code(Digest::of(b"c")), at(0)).unwrap();
        }
        assert!(sessions.find("owner", at(0)).is_some() && sessions.find("code 0", at(0)).is_none());
    }

    #[test]
    fn sessions_end_when_idle_when_old_and_when_the_clock_goes_back() {
        let begin = || {
            let sessions = Sessions::default();
            sessions.begin("token", "a".to_owned(), By::Passkey("k".to_owned()), at(0)).unwrap();
            sessions
        };
        let sessions = begin();
        assert_eq!(sessions.find("other", at(0)), None);
        let mut now = 0;
        while now <= LONGEST_S {
            assert!(sessions.find("token", at(now)).is_some(), "{now}");
            now += IDLE_S;
        }
        assert_eq!(sessions.find("token", at(now)), None, "too old");
        assert_eq!(begin().find("token", at(IDLE_S + 1)), None);
        assert_eq!(begin().find("token", at(-1)), None);
        let sessions = begin();
        let (digest, session) = sessions.find("token", at(5)).unwrap();
        assert_eq!((session.account.as_str(), session.since), ("a", at(0)));
        sessions.end(&digest);
        assert_eq!(sessions.find("token", at(6)), None);
    }
}
