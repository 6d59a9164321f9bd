//! The same label for a code wherever it is released: a cut through the hierarchy of items.
//!
//! Which cut is read off what can be told when every person is looked at: a node is cut open where more information is
//! told below it than would be at it. Events that cannot be told as their node of the cut are suppressed, person by person.
//! A cut through a hierarchy is what COAT and PCTA look for too (Loukides, Gkoulalas-Divanis and Malin, "COAT:
//! COnstraint-based anonymization of transactions", KAIS 28(2), 2011).

use super::tree::{ItemTree, NOTHING};

/// For each node whether it is in the cut. `told`: node of each event, as detailed as can be. `keep`: what an event counts
/// that is told at all, in bits, beside its information; more gives a coarser cut with fewer events suppressed.
pub(super) fn cut(tree: &ItemTree, told: &[u32], keep: f64) -> Vec<bool> {
    let nodes = tree.parent.len();
    let mut told_below = vec![0_u64; nodes];
    for node in told {
        let mut node = *node;
        while node != NOTHING {
            told_below[node as usize] += 1;
            node = tree.parent[node as usize];
        }
    }
    // Children before their parents.
    let depth = |mut node: u32| {
        let mut depth = 0_usize;
        while tree.parent[node as usize] != NOTHING {
            node = tree.parent[node as usize];
            depth += 1;
        }
        depth
    };
    let depths: Vec<usize> = (0..).take(nodes).map(depth).collect();
    let mut order: Vec<usize> = (0..nodes).collect();
    order.sort_by_key(|node| std::cmp::Reverse(depths[*node]));
    let mut below = vec![0.0; nodes];
    let mut closed = vec![false; nodes];
    for node in &order {
        #[expect(clippy::cast_precision_loss, reason = "counts of events are far below 2^53")]
        let here = told_below[*node] as f64 * (tree.bits[*node] + keep);
        closed[*node] = here >= below[*node];
        let best = if closed[*node] { here } else { below[*node] };
        if let Some(above) = below.get_mut(tree.parent[*node] as usize) {
            *above += best;
        }
    }
    // From above, the first closed node of each way down.
    let mut open = vec![false; nodes];
    let mut chosen = vec![false; nodes];
    for node in order.iter().rev() {
        let parent = tree.parent[*node];
        let reached = parent == NOTHING || open[parent as usize];
        chosen[*node] = reached && closed[*node];
        open[*node] = reached && !closed[*node];
    }
    chosen
}

/// The finest node of each event under a cut; [`NOTHING`] where the cut runs below what may be told.
pub(super) fn finest(tree: &ItemTree, finest: &[u32], chosen: &[bool]) -> Vec<u32> {
    let up = |node: &u32| {
        let mut node = *node;
        while node != NOTHING && !chosen[node as usize] {
            node = tree.parent[node as usize];
        }
        node
    };
    finest.iter().map(up).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_opened_where_more_is_told_below() {
        // 0 over 1 and 2; four events told below, one only as 0.
        let tree = ItemTree {
            labels: Vec::new(),
            parent: vec![NOTHING, 0, 0],
            bits: vec![1.0, 2.0, 2.0],
            leaves_below: vec![2, 1, 1],
            paths: Vec::new(),
            own_bits: Vec::new(),
            code_levels: 3,
            date_levels: 0,
        };
        let told = [1, 1, 2, 2, 0];
        assert_eq!(cut(&tree, &told, 0.0), [false, true, true]);
        assert_eq!(cut(&tree, &told, 8.0), [true, false, false], "nine bits more than the one event loses");
        assert_eq!(finest(&tree, &[1, 2, 0], &[false, true, true]), [1, 2, NOTHING]);
        assert_eq!(finest(&tree, &[1, 2, 0], &[true, false, false]), [0, 0, 0]);
    }
}
