//! Keys in memory and in a file.

use std::fs;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::*;

fn keyring(seed: u8) -> Keyring {
    Keyring::new([seed; 32], Chance::seeded(1))
}

#[test]
fn a_sealed_value_opens_only_in_its_place_with_its_key_and_unchanged() {
    let ring = keyring(1);
    let sealed = ring.seal("a", b"secret");
    assert_eq!(ring.open("a", &sealed).unwrap().as_slice(), b"secret");
    assert_ne!(sealed, ring.seal("a", b"secret"), "the nonce is random");
    assert!(ring.open("b", &sealed).is_err());
    assert!(keyring(2).open("a", &sealed).is_err());
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert!(ring.open("a", &changed).is_err(), "byte {at}");
    }
    assert!(ring.open("a", &[]).is_err());
}

#[test]
fn the_key_file_is_made_once_and_private() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let first = Keyring::load(dir.path(), None, Chance::seeded(1)).unwrap();
    let second = Keyring::load(dir.path(), None, Chance::seeded(2)).unwrap();
    assert_eq!(first.ids(), second.ids());
    let mode = fs::metadata(dir.path().join("key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn processes_that_start_at_once_have_the_same_key() {
    for round in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let load = |seed| Keyring::load(dir.path(), None, Chance::seeded(seed)).unwrap().ids();
        let loaded = std::thread::scope(|scope| {
            let starting: Vec<_> =
                (0..8).map(|nth| scope.spawn(move || load(8 * round + nth))).collect();
            starting.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(loaded.iter().all(|ids| *ids == loaded[0]), "{loaded:?}");
    }
}

/// A group may read it where the host isn't its owner.
#[test]
fn who_may_read_the_key_file_may_read_the_next_one() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let ring = Keyring::load(dir.path(), None, Chance::seeded(1)).unwrap();
    let file = dir.path().join("key");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    ring.put_first().unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    ring.keep_first(ring.retire().unwrap().unwrap()).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn a_new_key_is_noticed_by_all_and_the_old_one_opens() {
    let dir = tempfile::tempdir().unwrap();
    let load = |seed| Keyring::load(dir.path(), None, Chance::seeded(seed)).unwrap();
    let (host, command) = (load(1), load(2));
    let old = host.ids();
    let before = host.seal("a", b"before");
    let lock = command.lock_file().unwrap();
    assert!(host.lock_file().is_err(), "one changes the key at a time");
    let new = command.put_first().unwrap();
    assert_eq!(command.ids(), [new, old[0]]);
    // The host seals with it from now on, and each opens what the other has sealed.
    let after = host.seal("a", b"after");
    assert_eq!(KeyId::of(&after), Some(new));
    assert_eq!(command.open("a", &after).unwrap().as_slice(), b"after");
    assert_eq!(command.open("a", &before).unwrap().as_slice(), b"before");
    command.keep_first(command.retire().unwrap().unwrap()).unwrap();
    drop(lock);
    assert_eq!(KeyId::of(&host.seal("a", b"")), Some(new));
    assert_eq!(host.open("a", &before).unwrap().as_slice(), b"before", "until it ends");
    let later = load(3);
    assert_eq!(later.ids(), [new]);
    assert!(later.open("a", &before).is_err());
    assert_eq!(later.open("a", &after).unwrap().as_slice(), b"after");
}

/// What it seals until then would be lost with the old key.
#[test]
fn a_key_stays_while_a_process_seals_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let load = |seed| Keyring::load(dir.path(), None, Chance::seeded(seed)).unwrap();
    let (host, command) = (load(1), load(2));
    let old = host.newest();
    command.put_first().unwrap();
    assert!(command.retire().unwrap().is_none(), "the host hasn't looked");
    // What it finds isn't what the command wrote, nor anything else that it can read.
    let file = dir.path().join("key");
    let written = fs::read(&file).unwrap();
    fs::write(&file, "not for you").unwrap();
    let sealed = host.seal("a", b"secret");
    assert_eq!(KeyId::of(&sealed), Some(old), "posts are accepted all the same");
    fs::write(&file, written).unwrap();
    assert!(command.retire().unwrap().is_none(), "the host seals with it");
    assert_eq!(command.open("a", &sealed).unwrap().as_slice(), b"secret");
    let new = host.newest();
    assert_ne!(new, old);
    let retiring = command.retire().unwrap().expect("the host has the new key");
    // Who comes this moment can't take the old one up.
    assert_eq!(load(3).newest(), new);
    command.keep_first(retiring).unwrap();
    assert_eq!(load(4).ids(), [new]);
    // One that ended holds nothing up.
    drop((host, load(5)));
    command.put_first().unwrap();
    assert!(command.retire().unwrap().is_some());
}

#[tokio::test]
async fn a_host_that_seals_nothing_takes_the_new_key_up() {
    let dir = tempfile::tempdir().unwrap();
    let load = |seed| Keyring::load(dir.path(), None, Chance::seeded(seed)).unwrap();
    let (host, command) = (load(1), load(2));
    let clock = Clock::simulated(0);
    let keeps_up = tokio::spawn(host.clone().keep_up(clock.clone()));
    command.put_first().unwrap();
    while command.retire().unwrap().is_none() {
        clock.advance(LOOK);
        tokio::task::yield_now().await;
    }
    keeps_up.abort();
}

#[test]
fn what_was_sealed_with_a_new_key_is_opened_by_who_has_not_sealed_since() {
    let dir = tempfile::tempdir().unwrap();
    let load = |seed| Keyring::load(dir.path(), None, Chance::seeded(seed)).unwrap();
    let (host, command) = (load(1), load(2));
    command.put_first().unwrap();
    let sealed = command.seal("a", b"secret");
    assert_eq!(host.open("a", &sealed).unwrap().as_slice(), b"secret");
}

#[test]
fn given_keys_are_several_and_stay_as_they_are() {
    let key = |byte: u8| BASE64_STANDARD.encode([byte; 32]);
    let given = format!("{}, {}", key(2), key(1));
    let dir = tempfile::tempdir().unwrap();
    let ring = Keyring::load(dir.path(), Some(&given), Chance::seeded(1)).unwrap();
    assert_eq!(ring.ids(), [keyring(2).newest(), keyring(1).newest()]);
    let sealed = keyring(1).seal("a", b"secret");
    assert_eq!(ring.open("a", &sealed).unwrap().as_slice(), b"secret");
    assert_eq!(ring.derive_all("x"), [keyring(2).derive("x"), keyring(1).derive("x")]);
    assert!(ring.put_first().is_err());
    assert!(ring.keep_first(ring.retire().unwrap().unwrap()).is_err());
    assert!(!dir.path().join("key").exists());
    for (wrong, why) in [("", "no key"), ("abc", "base64"), ("YWJj", "3 bytes")] {
        let error = Keyring::load(dir.path(), Some(wrong), Chance::seeded(1)).unwrap_err();
        assert!(format!("{error:#}").contains(why), "{wrong}: {error:#}");
    }
}
