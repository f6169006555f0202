//! What becomes of an engine's effects: frames on a line, batches to the disk, reads.

use super::*;

impl World {
    pub(super) fn drain(&mut self, n: usize) {
        while let Some(process) = &mut self.hosts[n].process {
            if let Some(effect) = process.engine.poll() {
                self.carry_out(n, effect);
            } else if let Some(action) = process.routes.as_mut().and_then(Routes::poll) {
                self.steer(n, action);
            } else {
                break;
            }
        }
    }

    pub(super) fn carry_out(&mut self, n: usize, effect: Effect) {
        let (at, epoch) = (self.since_start(n), self.hosts[n].epoch);
        let Some(process) = &mut self.hosts[n].process else { return };
        match effect {
            Effect::Send { session, frame } => {
                if process.lines.contains(&session) {
                    self.transmit(n, session, frame);
                }
            }
            Effect::SendRun { session, tenant, origin, after, upto, held, form } => {
                if process.lines.contains(&session) {
                    if let Some(routes) = &mut process.routes {
                        routes.sent(session, at);
                    }
                    let run = Read::Run { session, tenant, origin, after, upto, held, form };
                    self.start_read(n, run);
                }
            }
            Effect::SendChunks { session, tenant, cut, first, count } => {
                if process.lines.contains(&session) {
                    let end = first.saturating_add(count);
                    self.start_read(n, Read::Chunks { session, tenant, cut, next: first, end });
                }
            }
            Effect::Commit { commit, batch } => {
                self.check_commit(n, &batch);
                self.commit(n, commit, batch);
            }
            Effect::FindMissing { session, tenant, log, lookup, blobs } => {
                self.start_read(n, Read::Missing { session, tenant, log, lookup, blobs });
            }
            Effect::Truncate { tenant, origin, cut } => {
                self.start_read(n, Read::Truncate { tenant, origin, cut });
            }
            Effect::Rebuild { .. } => {
                process.rebuilds += 1;
                self.projects(n);
            }
            Effect::Appended { ticket, log, seq } => {
                if let Some(tenant) = process.said.remove(&ticket) {
                    self.appended(n, tenant, log, seq);
                }
            }
            Effect::Refused { ticket, why } => {
                process.said.remove(&ticket);
                self.trace.note(self.now, || format!("host {n} refuses: {why}"));
            }
            Effect::Fresh { tenant, position } => {
                process.fresh.insert(tenant, position);
                self.projects(n);
                self.satisfy(n);
            }
            Effect::Pins { nodes } => self.pins(n, &nodes),
            Effect::Heard { session, pong } => {
                if let Some(routes) = &mut process.routes {
                    match pong {
                        Some(number) => routes.pong(session, number, at),
                        None => routes.heard(session, at),
                    }
                }
            }
            Effect::Greeted { session } => {
                let attempt = process.attempts.remove(&session);
                if let (Some(attempt), Some(routes)) = (attempt, &mut process.routes) {
                    routes.opened(attempt, session, at);
                }
            }
            Effect::Announced { session } => {
                if let Some(routes) = &mut process.routes {
                    routes.announced(session, at);
                }
            }
            Effect::Takes { session, takes } => {
                if let Some(routes) = &mut process.routes {
                    routes.takes(session, takes, at);
                }
            }
            Effect::Close { session, fault } => {
                self.trace.note(self.now, || format!("host {n} closes {session:?} {fault:?}"));
                let open = process.lines.remove(&session);
                if open {
                    self.close(session);
                }
                let refused = fault.is_some_and(Fault::needs_a_person);
                self.unroute(n, session, refused);
            }
            Effect::Alarm(alarm) => {
                self.trace.note(self.now, || format!("host {n} ({epoch}) alarm: {alarm}"));
                process.alarms.push(alarm);
            }
        }
    }

    /// A frame of ours leaves: the oracle looks at what it says.
    pub fn transmit(&mut self, n: usize, session: SessionId, frame: Frame) -> Time {
        let (wire, side) = place(session);
        self.check_frame(n, self.peer_of(wire, 1 - side), &frame);
        self.send_on(wire, side, frame)
    }

    pub(super) fn start_read(&mut self, n: usize, read: Read) {
        let epoch = self.hosts[n].epoch;
        let takes = if self.hosts[n].slow_disk { 5..=800 } else { 0..=4 };
        let takes = self.dice.ms(takes);
        self.later(takes, Event::Read { host: n, epoch, read: Box::new(read) });
    }

    /// What the real host's blocking threads and senders do.
    pub fn read(&mut self, n: usize, read: Read) {
        let (disk, epoch) = (Arc::clone(&self.hosts[n].disk), self.hosts[n].epoch);
        let open = |world: &Self, session| {
            let process = world.hosts[n].process.as_ref();
            process.is_some_and(|process| process.lines.contains(&session))
        };
        match read {
            Read::Run { session, tenant, origin, after, upto, held, form } => {
                match archive::run(
                    &*disk,
                    tenant,
                    &origin,
                    after,
                    upto,
                    &held,
                    Packing { form, effort: Effort::Quick },
                ) {
                    Ok((run, large)) if open(self, session) => {
                        let upto = run.last().expect("a run has bundles");
                        let bytes = Frame::Run(run.clone()).encode().len();
                        let handed_over = self.transmit(n, session, Frame::Run(run));
                        let input = Box::new(Input::RunSent { session, upto, bytes, large });
                        self.push(handed_over, Event::Inject { host: n, epoch, input });
                    }
                    Ok(_) => {}
                    Err(error) => {
                        let input = Box::new(Input::RunUnread { session, error });
                        self.push(self.now, Event::Inject { host: n, epoch, input });
                    }
                }
            }
            Read::Chunks { session, tenant, cut, next, end } => {
                let Ok(Some(bytes)) = archive::read_chunk(&*disk, tenant, &cut, next) else {
                    return;
                };
                if !open(self, session) {
                    return;
                }
                let frame = Frame::Chunk(Chunk { tenant: Tenant(tenant), cut, index: next, bytes });
                let handed_over = self.transmit(n, session, frame);
                if next + 1 < end {
                    let read = Box::new(Read::Chunks { session, tenant, cut, next: next + 1, end });
                    self.push(handed_over, Event::Read { host: n, epoch, read });
                }
            }
            Read::Missing { session, tenant, log, lookup, blobs } => {
                let chunks = blobs.iter().map(|blob| {
                    let missing = archive::missing_chunks(&*disk, tenant, blob)?;
                    Ok((blob.cut(), missing))
                });
                if let Ok(chunks) = chunks.collect::<Result<_, archive::ReadError>>() {
                    let input = Box::new(Input::Missing { session, tenant, log, lookup, chunks });
                    self.push(self.now, Event::Inject { host: n, epoch, input });
                }
            }
            Read::Truncate { tenant, origin, cut } => {
                if let Ok((batch, end)) = archive::truncate(&*disk, tenant, &origin, cut) {
                    let log = origin.log();
                    let input = Box::new(Input::Truncated { tenant, log, end, batch });
                    self.push(self.now, Event::Inject { host: n, epoch, input });
                }
            }
        }
    }
}
