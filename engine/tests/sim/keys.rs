//! Twelve keys, known to everybody, so that a seed names the same peers on every machine.
//!
//! Signatures are made and verified for real. Their bytes differ from run to run, since ring
//! draws a nonce; nothing depends on them but whether they verify, and the trace leaves them out.

use engine::{
    bundle::{Item, PublicKey, Signer},
    grant::Grant,
    id::PeerId,
};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};

/// Private key, then the public point's x and y.
#[rustfmt::skip]
const KEYS: [[&str; 3]; 12] = [
    ["684c8884a89325f8821cc2b4cb4359e6951c7be0c7e537f2338980553fa7c85d",
     "e62f5382b5a74c9c2967fc52acaeb8e2de4bcc488ea8ffb558adf80d75d04e6b",
     "88fdf4e438f85643d62cfef21557ae96c3880d391810cee11b61ba72840df80c"],
    ["4aeda33701da60bfc5787942f99d2205a0641486ea43b59aa139a9a275833e35",
     "b8cab4f8aeef05709389ffc4aa971a25c7330a144075432c1643a84da1653ba6",
     "47371e90d683e26633f478bfacb8f0e52ac7a348d7c9094cec785c0452371e25"],
    ["4ca82a88c09e7ca686490b712824a36112ed4a852e3ac222156517ef6add851f",
     "f758f89e7b10e7fd0e8873a9fcbb87879b9dd49276d5dfd55c635f11e76803ea",
     "82642ae1bae9402b6d7eb1a2a318682ca7aefcb60fb7fd541c5c759e19d07e92"],
    ["2cef0ff43a11e5270a2f52c81a5d18c9976ed299a488a74b4bb594769dca8267",
     "58a981372ffb5342e2e902d3b0ba2014c9589869400ca4b6d2e63499819c3185",
     "aaa863c6fc4cdbf03a19204c4f67160836fbe7bce727eb8b25d51cbade729e41"],
    ["32479a02436c5d85e3f3cb89ab92bb60dee58d1b3b7ab92a7b4bd6db1e02ae55",
     "68337807dc8b9dce614045b6c31c02476320fd28cefd588dedeb7547c54eb056",
     "c7e0d707dcbad6997e00a449fae3593c15e7ab3b5b7ee6bd479a31a992197cf8"],
    ["58a21b3d18f2c3fc168ed5f42d5558bc4a7a5cc85822168d5e450367b4d01a9e",
     "60513b074cac9f511a651d2e29b162b5bfca4758fab1d3d90ca204306f21b113",
     "9da37c3e1be2551cdb735397d745105bc273109b879816a65cc89e05267711aa"],
    ["0c21652c373b55b7a4802a5fed7691a4293284dcbe5ed0c73ce85a467e6bedc7",
     "eaaeb8d27f7887c08955ad5f76382c8ed7c970c377ed46d8d7a940241ad67985",
     "4e35cc2b24de50f4471047ad572f80ef95fbfeeaa21786d79c5f6b76579dc688"],
    ["29060480e6ca12a79832d58467748f71b217f84dc1bbc020cddc4152534cc2aa",
     "b73704fa87f2981c03c9edadc801c377dc11e733943f349932ec8a9344cd6b89",
     "f5159c10b54f4f2f64c2b75213f47265628a64ad4d498b6aa6fb38814d09df84"],
    ["572c9facce30247a5db6fc3cfe3966e9ed2885257d2b7252117c4ea6318a1cb2",
     "4cb9d33f36c7611af92b1cec9986580349f05277aa826f0c329fc5ffc874d8ad",
     "05f8f8a9ebdec9bf0a6f00c597e0b25e1443b287dcaf60196448fee31dd2aece"],
    ["6ebed9f7eb91ab8a7319b461637222325058ab2c076a572fa99fd7f5b70c7cce",
     "5d50da6827a5e6b1310a3a0c66db885934ae147c7992f0b71ad07d04cc2160e1",
     "b51f2eea3c97ef8dd350e9ce996dce1b3abb2c94fb1e17d91b68c1056a320bd1"],
    ["5f193e2b630401101a0fff828ac08db105e890ea5051acff881d40d877da927c",
     "be7a826f33ede0b8a14973e92210f5dcb5ea69bedb4e405ee85cf53c8a52a212",
     "a87b1b5096c3423cb8afff61bc89ef2003e07549fea047ce59b1d4d9b8da18ae"],
    ["2a6fa162bc2dd7fcdac57c42070b5b9982128919dca8826ebf8a754d1f4b2e3b",
     "94de4cdce7044e46264ece54f0dbf2393e0d19646e1aec7534784cf3f87d5222",
     "79973e370e5c3211960c8afdbbeefd23c02279c2c34a84e1d91d90e7fce8809c"],
];

/// A key pair of the table.
pub struct Key {
    pair: EcdsaKeyPair,
    public: PublicKey,
}

impl Key {
    /// The `n`th key.
    pub fn new(n: usize) -> Self {
        let [private, x, y] = KEYS[n].map(unhex);
        let point = [vec![4], x, y].concat();
        let pair = EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &private,
            &point,
            &SystemRandom::new(),
        )
        .unwrap();
        // RFC 5480 section 2: an ECDSA P-256 SubjectPublicKeyInfo is these bytes and the point.
        let mut spki = unhex("3059301306072a8648ce3d020106082a8648ce3d030107034200");
        spki.extend_from_slice(&point);
        Self { pair, public: PublicKey::from_spki(&spki).unwrap() }
    }

    pub fn peer(&self) -> PeerId {
        self.public.peer()
    }

    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// What a portal says to admit it.
    pub fn grant(&self) -> Item {
        Item::Grant(Grant { spki: self.public.spki().to_vec(), not_after_ms: u64::MAX })
    }

    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature = self.pair.sign(&SystemRandom::new(), message).unwrap();
        signature.as_ref().try_into().unwrap()
    }
}

impl Signer for Key {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        Key::sign(self, message)
    }
}

fn unhex(hex: &str) -> Vec<u8> {
    let digit = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}
