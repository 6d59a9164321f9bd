//! t-closeness: the values of every class are spread like those of the whole table, up to an earth mover's distance of t
//! (Li, Li and Venkatasubramanian, "t-closeness: privacy beyond k-anonymity and l-diversity", ICDE 2007).

use super::{Distribution, Ground, Value};
use crate::real;

/// Earth mover's distance from a class to the whole table, 0 to 1.
pub(crate) fn distance(values: &[(Value, u64)], whole: &Distribution, ground: Ground) -> f64 {
    let rows = real(values.iter().map(|(_, count)| count).sum());
    if rows == 0.0 {
        return 0.0;
    }
    let mut extra: Vec<f64> = whole.shares().iter().map(|share| -share).collect();
    for (value, count) in values {
        if extra.len() <= *value as usize {
            extra.resize(*value as usize + 1, 0.0);
        }
        extra[*value as usize] += real(*count) / rows;
    }
    match ground {
        Ground::Equal => extra.iter().map(|extra| extra.abs()).sum::<f64>() / 2.0,
        Ground::Ordered => {
            // Section 5.2: what has gathered up to a value must be carried to the next.
            let steps = extra.len().saturating_sub(1).max(1) as u64;
            let mut gathered = 0.0;
            let moved: f64 = extra
                .iter()
                .map(|extra| {
                    gathered += extra;
                    f64::abs(gathered)
                })
                .sum();
            moved / real(steps)
        }
        Ground::Hierarchical => {
            // Section 5.3: at a node of height h, the smaller of what its children have too much and too little is
            // moved across it, at a cost of h / height of the hierarchy. What is left goes up.
            let levels = whole.levels();
            let height = levels.len() as u64;
            let mut nodes = extra;
            let mut child_of: Vec<u32> = (0..).take(nodes.len()).collect();
            let mut cost = 0.0;
            for (below, level) in levels.iter().enumerate() {
                let size = level.iter().map(|node| *node as usize + 1).max().unwrap_or(0);
                let (mut surplus, mut lack) = (vec![0.0; size], vec![0.0; size]);
                let mut counted = vec![false; nodes.len()];
                for (leaf, parent) in level.iter().enumerate() {
                    let Some(child) = child_of.get(leaf).map(|child| *child as usize) else { continue };
                    if !std::mem::replace(&mut counted[child], true) {
                        let part: f64 = nodes[child];
                        if part > 0.0 { surplus[*parent as usize] += part } else { lack[*parent as usize] -= part }
                    }
                }
                cost += real(below as u64 + 1) / real(height)
                    * surplus.iter().zip(&lack).map(|(surplus, lack)| f64::min(*surplus, *lack)).sum::<f64>();
                nodes = surplus.iter().zip(&lack).map(|(surplus, lack)| surplus - lack).collect();
                child_of.clone_from(level);
            }
            cost
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Salaries 3k … 11k, one each: the example of section 5.2 of the paper.
    fn salaries() -> Distribution {
        Distribution::of((0..9).map(|value| (value, 1)))
    }

    #[test]
    fn the_papers_example_of_ordered_values() {
        let low = [(0, 1), (1, 1), (2, 1)];
        let mixed = [(3, 1), (5, 1), (8, 1)];
        assert!((distance(&low, &salaries(), Ground::Ordered) - 0.375).abs() < 1e-12);
        assert!((distance(&mixed, &salaries(), Ground::Ordered) - 0.167).abs() < 1e-3);
    }

    #[test]
    fn equal_and_hierarchical_distance() {
        let whole = Distribution::of([(0, 1), (1, 1), (2, 1), (3, 1)]);
        assert!((distance(&[(0, 5)], &whole, Ground::Equal) - 0.75).abs() < 1e-12);
        // Leaves 0,1 under one node, 2,3 under another: a quarter moves across the first node (1/2), a half across the root.
        let tree = whole.with_hierarchy(vec![vec![0, 0, 1, 1], vec![0, 0, 0, 0]]);
        assert!((distance(&[(0, 5)], &tree, Ground::Hierarchical) - (0.25 * 0.5 + 0.5)).abs() < 1e-12);
        assert!(distance(&[(0, 1), (1, 1), (2, 1), (3, 1)], &tree, Ground::Hierarchical).abs() < 1e-12);
    }
}
