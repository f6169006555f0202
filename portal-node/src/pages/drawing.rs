//! The picture of the network: this portal, the other one, nodes, and a curve for each line. Made
//! here, without script; every peer leads to its row in the table.

use engine::id::PeerId;
use maud::{Markup, html};

use super::network::{line, sign, title, tone, word};
use crate::{
    lang::Lang,
    network::{Health, Peer},
};

/// Nodes in the picture: those that are not well come first. The table has all.
const NODES_MAX: usize = 24;
const WIDTH: usize = 1080;
const ROW: usize = 58;
const TOP: usize = 24;
const NODE_X: usize = 770;
const PORTAL_X: usize = 20;
const PORTAL_WIDTH: usize = 220;
const CHARS_MAX: usize = 30;

/// What a peer's row in the table is called in links.
pub(super) fn anchor(peer: &Peer) -> String {
    name(&peer.pin)
}

fn name(pin: &PeerId) -> String {
    format!("peer-{:.16}", pin.to_string())
}

/// The picture.
pub(super) fn picture(lang: Lang, here: &str, peers: &[Peer]) -> Markup {
    let (portals, nodes): (Vec<_>, Vec<_>) = peers.iter().partition(|peer| peer.is_portal);
    let hidden = nodes.len().saturating_sub(NODES_MAX);
    let nodes = &nodes[..nodes.len() - hidden];
    let height = TOP + (nodes.len().max(portals.len() * 2 + 2)) * ROW;
    let middle = height / 2;
    let ours = middle - ROW;
    let said = lang.t(
        "Questo portale a sinistra, l'altro sotto, i nodi dei clienti a destra, una linea per ogni connessione aperta; \
         gli stessi dati sono nella tabella.",
        "This portal on the left, the other below, the customers' nodes on the right, a line for each open connection; \
         the table has the same data.",
    );
    html! {
        svg.net viewBox={ "0 0 " (WIDTH) " " (height) } width=(WIDTH) height=(height) role="group" aria-labelledby="rete-nome rete-testo" {
            title id="rete-nome" { (lang.t("La rete", "The network")) }
            desc id="rete-testo" { (said) }
            @for (place, peer) in portals.iter().enumerate() {
                @let y = ours + ROW * 2 * (place + 1);
                (between(peer, ours, y))
                (boxed(lang, peer, PORTAL_X, y, PORTAL_WIDTH))
            }
            @for (place, peer) in nodes.iter().enumerate() {
                @let y = TOP / 2 + place * ROW;
                (reach(lang, peer, ours + 22, y + 22))
                (boxed(lang, peer, NODE_X, y, WIDTH - NODE_X - 10))
            }
            g.peer.here {
                rect x=(PORTAL_X) y=(ours) width=(PORTAL_WIDTH) height="44" rx="8" {}
                text.name x=(PORTAL_X + 14) y=(ours + 19) { (lang.t("Questo portale", "This portal")) }
                text x=(PORTAL_X + 14) y=(ours + 36) { (short(here)) }
            }
        }
        @if hidden > 0 { p.hint { (lang.t("Non disegnati: ", "Not drawn: ")) (hidden) } }
    }
}

fn boxed(lang: Lang, peer: &Peer, x: usize, y: usize, width: usize) -> Markup {
    let health = peer.health();
    let mut state = format!("{} {}", sign(health), word(lang, health));
    if health == Health::Behind {
        state += &format!(": {}", peer.misses + peer.brings);
    }
    html! {
        a href={ "#" (anchor(peer)) } {
            g.peer.(tone(health)) {
                rect x=(x) y=(y) width=(width) height="44" rx="8" {}
                text.name x=(x + 14) y=(y + 19) { (short(&title(lang, peer))) }
                text x=(x + 14) y=(y + 36) { (state) }
            }
        }
    }
}

/// The lines between this portal and the other one.
fn between(peer: &Peer, from: usize, to: usize) -> Markup {
    let (top, bottom) = (from + 44, to);
    html! {
        @if peer.sessions.is_empty() {
            path.line.bad.away d={ "M130 " (top) "V" (bottom) } {}
        }
        @for (place, session) in peer.sessions.iter().enumerate() {
            @let x = 100 + place * 20;
            path.line.(tone(peer.health())).standby[!session.primary] d={ "M" (x) " " (top) "V" (bottom) } {}
        }
    }
}

/// The lines between this portal and a node, each with its words.
fn reach(lang: Lang, peer: &Peer, from: usize, to: usize) -> Markup {
    let start = PORTAL_X + PORTAL_WIDTH;
    let curve = |from: usize, to: usize| {
        format!(
            "M{start} {from}C{} {from} {} {to} {} {to}H{NODE_X}",
            start + 110,
            start + 50,
            start + 150
        )
    };
    let words = start + 165;
    html! {
        @if peer.sessions.is_empty() {
            path.line.away.(tone(peer.health())) d=(curve(from, to)) {}
        }
        @for (place, session) in peer.sessions.iter().take(2).enumerate() {
            @let y = if peer.sessions.len() == 1 { to } else { to + 24 * place - 12 };
            path.line.(tone(peer.health())).standby[!session.primary] d=(curve(from, y)) {}
            text.words x=(words) y=(y - 4) { (line(lang, session)) }
        }
    }
}

fn short(text: &str) -> String {
    if text.chars().count() <= CHARS_MAX {
        return text.to_owned();
    }
    text.chars().take(CHARS_MAX - 1).chain(['…']).collect()
}
