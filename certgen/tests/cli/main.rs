//! Stories told to the real binary, with OpenSSL as the second opinion on everything it
//! writes. OpenSSL is needed: without it these tests fail, since what they prove would
//! otherwise go unproven.

mod desk;
mod issuing;
mod lifetime;
mod refusals;
