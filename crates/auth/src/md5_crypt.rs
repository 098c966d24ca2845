//! The MD5 hash of `htpasswd` (`$apr1$`) and of old `passwd` files (`$1$`), only to read existing files: no small library
//! carries it. It was defined by Poul-Henning Kamp's `crypt_md5` for FreeBSD, and Apache changed its magic word.

use md5::{Digest, Md5};

const ROUNDS: usize = 1000;
const SALT_BYTES_MAX: usize = 8;

/// Parsed: everything but the password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Md5Crypt {
    magic: &'static str,
    salt: Vec<u8>,
    /// 22 characters, in the alphabet of crypt.
    expected: Vec<u8>,
}

impl Md5Crypt {
    /// Reads `$apr1$salt$hash` or `$1$salt$hash`.
    pub(crate) fn parse(text: &str) -> Option<Md5Crypt> {
        let magic = ["$apr1$", "$1$"].into_iter().find(|magic| text.starts_with(magic))?;
        let (salt, expected) = text[magic.len()..].split_once('$')?;
        let is_sound = salt.len() <= SALT_BYTES_MAX
            && expected.len() == 22
            && expected.bytes().all(|byte| ALPHABET.contains(&byte));
        is_sound.then(|| Md5Crypt { magic, salt: salt.as_bytes().to_vec(), expected: expected.as_bytes().to_vec() })
    }

    /// The hash of this password, and the one it should be.
    pub(crate) fn hash(&self, password: &[u8]) -> ([u8; 22], &[u8]) {
        (encode(&digest(password, self.magic.as_bytes(), &self.salt)), &self.expected)
    }
}

fn md5(parts: &[&[u8]]) -> [u8; 16] {
    let mut md5 = Md5::new();
    parts.iter().for_each(|part| md5.update(part));
    md5.finalize().into()
}

fn digest(password: &[u8], magic: &[u8], salt: &[u8]) -> [u8; 16] {
    let inner = md5(&[password, salt, password]);
    let mut first = Md5::new();
    first.update(password);
    first.update(magic);
    first.update(salt);
    let mut left = password.len();
    while left > 0 {
        let part = left.min(inner.len());
        first.update(&inner[..part]);
        left -= part;
    }
    let mut bits = password.len();
    while bits > 0 {
        // A slip in the original, and since then the definition.
        first.update(if bits & 1 == 1 { &[0] } else { &password[..1] });
        bits >>= 1;
    }
    let mut last: [u8; 16] = first.finalize().into();
    for round in 0..ROUNDS {
        let (head, tail) = if round % 2 == 1 { (password, &last[..]) } else { (&last[..], password) };
        let salt = if round % 3 == 0 { &[][..] } else { salt };
        let middle = if round % 7 == 0 { &[][..] } else { password };
        last = md5(&[head, salt, middle, tail]);
    }
    last
}

const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Three bytes at a time, far from each other, as four characters, the lowest bits first; the last one as two.
fn encode(digest: &[u8; 16]) -> [u8; 22] {
    const GROUPS: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];
    let mut out = [0; 22];
    let mut put = |at: usize, count: usize, mut bits: u32| {
        for character in &mut out[at..at + count] {
            *character = ALPHABET[(bits & 63) as usize];
            bits >>= 6;
        }
    };
    for (index, group) in GROUPS.iter().enumerate() {
        let [high, middle, low] = group.map(|byte| u32::from(digest[byte]));
        put(4 * index, 4, high << 16 | middle << 8 | low);
    }
    put(20, 2, u32::from(digest[11]));
    out
}
