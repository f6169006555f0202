//! What a process of ours has around it where it is installed.

/// The unit that an installed node runs under.
const UNIT: &str = include_str!("../../node/packaging/staffetta-node.service");

/// The variables that the unit sets, so that what is measured is what is shipped.
pub fn environment() -> impl Iterator<Item = (&'static str, &'static str)> {
    UNIT.lines().filter_map(|line| line.strip_prefix("Environment=")?.split_once('='))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_unit_says_how_many_pools_of_memory_there_are() {
        let all: Vec<_> = super::environment().collect();
        assert_eq!(all, [("MALLOC_ARENA_MAX", "1")]);
    }
}
