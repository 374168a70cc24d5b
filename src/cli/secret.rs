//! `stentor secret`: an app with a key and a secret of its own, ready to paste.

use super::{Failure, say};

pub(super) fn run() -> Result<(), Failure> {
    let failed = |error| Failure::Run(format!("the system gives no random numbers: {error}"));
    let (id, key, secret) =
        (random().map_err(failed)?, random().map_err(failed)?, random().map_err(failed)?);
    say(&block(u128::from_be_bytes(id), &hex(&key[..10]), &hex(&secret)))
}

fn random() -> Result<[u8; 16], rustix::io::Errno> {
    let mut bytes = [0; 16];
    // Up to 256 bytes come whole or not at all, getrandom(2) says.
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Six digits for the id: the SDK for Python refuses ids of anything else.
fn block(id: u128, key: &str, secret: &str) -> String {
    let id = 100_000 + id % 900_000;
    format!(
        "# stentor.toml\n[[apps]]\nid = \"{id}\"\nkey = \"{key}\"\nsecret = \"{secret}\"\n\n\
         # or .env, which Laravel reads too\nREVERB_APP_ID={id}\nREVERB_APP_KEY={key}\nREVERB_APP_SECRET={secret}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_has_the_same_app_for_both_files() {
        let block = block(7, "k", "s");
        for line in [
            "id = \"100007\"",
            "key = \"k\"",
            "secret = \"s\"",
            "REVERB_APP_ID=100007",
            "REVERB_APP_SECRET=s",
        ] {
            assert!(block.lines().any(|other| other == line), "{line}");
        }
    }

    #[test]
    fn two_secrets_differ() {
        assert_ne!(random().unwrap(), random().unwrap());
    }
}
