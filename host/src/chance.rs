//! Where chance comes from: one generator, seeded by the operating system, or by a test.

use std::sync::{Arc, Mutex, PoisonError};

use rand::{RngCore, SeedableRng, TryRngCore};
use rand_chacha::ChaCha20Rng;

/// A cryptographic random generator that all parts of a process share.
#[derive(Clone, Debug)]
pub struct Chance(Arc<Mutex<ChaCha20Rng>>);

impl Chance {
    /// Seeded by the operating system.
    pub fn from_system() -> Self {
        let mut seed = [0; 32];
        rand::rngs::OsRng
            .try_fill_bytes(&mut seed)
            .expect("without the system's randomness nothing may be sealed");
        Self(Arc::new(Mutex::new(ChaCha20Rng::from_seed(seed))))
    }

    /// Seeded by a test: the same seed, the same run.
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(ChaCha20Rng::seed_from_u64(seed))))
    }

    /// Random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut bytes);
        bytes
    }

    /// A number from 0 to `end`, without `end`; 0 for an empty range.
    pub fn below(&self, end: u64) -> u64 {
        let word = u64::from_le_bytes(self.bytes());
        word.checked_rem(end).unwrap_or(0)
    }

    /// A random UUID (version 4).
    pub fn uuid(&self) -> String {
        let bits = u128::from_be_bytes(self.bytes());
        let bits = bits & !(0xf << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
        let hex = format!("{bits:032x}");
        let groups = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
        groups.join("-")
    }

    /// `bytes` random bytes in base 36, as WebhookDB writes ids and suggested secrets (at most 16).
    pub fn base36(&self, bytes: usize) -> String {
        let random: [u8; 16] = self.bytes();
        let mut number = random.iter().take(bytes).fold(0u128, |n, b| n << 8 | u128::from(*b));
        let mut digits = Vec::new();
        while number > 0 || digits.is_empty() {
            digits.push(b"0123456789abcdefghijklmnopqrstuvwxyz"[(number % 36) as usize]);
            number /= 36;
        }
        digits.iter().rev().map(|digit| char::from(*digit)).collect()
    }
}
