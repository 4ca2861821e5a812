//! In which order the images of a set come.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Gamma};

use crate::image_set::ImageSet;

/// Slots of a Dirichlet order, unless there are fewer classes.
const MOST_SLOTS: usize = 100;

/// In which order a set is gone through.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Order {
    /// As the files are ordered.
    File,
    /// Shuffled once, by a generator seeded with this number.
    Shuffled(u64),
    /// Class after class, shuffled within each.
    Classes(u64),
    /// Classes in bursts. Each class's images are divided over slots, in shares drawn from a
    /// symmetric Dirichlet distribution. The slots follow each other; within one, class follows
    /// class, shuffled. The smaller the concentration, the longer the bursts. There are as many
    /// slots as classes, 100 at most.
    ///
    /// Source: Yuan et al., *Robust Test-Time Adaptation in Dynamic Scenarios* (RoTTA, 2023), whose
    /// division is that of Gong et al., *NOTE* (2022), section 4.
    Dirichlet {
        /// Seed of the generator.
        seed: u64,
        /// The distribution's parameter, above 0.
        concentration: f64,
    },
}

impl ImageSet {
    /// Indices of all images in the given order.
    ///
    /// # Panics
    ///
    /// If a concentration is not a number above 0.
    pub fn order(&self, order: Order) -> Vec<usize> {
        let mut indices: Vec<usize> = (0..self.images.len()).collect();
        match order {
            Order::File => indices,
            Order::Shuffled(seed) => {
                indices.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
                indices
            }
            Order::Classes(seed) => {
                indices.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
                indices.sort_by_key(|&index| self.images[index].label);
                indices
            }
            Order::Dirichlet { seed, concentration } => {
                indices.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
                self.bursts(&indices, seed, concentration)
            }
        }
    }

    /// Divides shuffled images over slots; see [`Order::Dirichlet`].
    fn bursts(&self, shuffled: &[usize], seed: u64, concentration: f64) -> Vec<usize> {
        let gamma = Gamma::new(concentration, 1.0).expect("the concentration is above 0");
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // Of the generator's streams, the first is the shuffle's.
        rng.set_stream(1);
        let classes = self.class_names.len();
        let mut of_class: Vec<Vec<usize>> = vec![Vec::new(); classes];
        for &index in shuffled {
            of_class[self.images[index].label].push(index);
        }
        let mut slots: Vec<Vec<&[usize]>> = vec![Vec::new(); classes.clamp(1, MOST_SLOTS)];
        for images in &of_class {
            let shares: Vec<f64> = slots.iter().map(|_| gamma.sample(&mut rng)).collect();
            let total: f64 = shares.iter().sum();
            let (mut sum, mut start) = (0.0, 0);
            let last = slots.len() - 1;
            for (index, (slot, share)) in slots.iter_mut().zip(&shares).enumerate() {
                sum += share;
                // The last slot takes the rest: all, if a tiny concentration made every share 0.
                let end = match index {
                    index if index == last => images.len(),
                    _ if total > 0.0 => (sum / total * images.len() as f64).round() as usize,
                    _ => 0,
                };
                slot.push(&images[start..end]);
                start = end;
            }
        }
        slots.iter_mut().for_each(|slot| slot.shuffle(&mut rng));
        slots.concat().concat()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::image_set::{LabelledImage, Source};

    fn set(classes: usize, of_each: usize) -> ImageSet {
        let image = |index| LabelledImage { path: PathBuf::new(), label: index % classes };
        ImageSet {
            id: String::new(),
            title: String::new(),
            test_set: None,
            class_names: vec![String::new(); classes],
            images: (0..classes * of_each).map(image).collect(),
            warnings: Vec::new(),
            source: Source::Folder(PathBuf::new()),
        }
    }

    /// How often two neighbours are of one class.
    fn repeats(set: &ImageSet, order: &[usize]) -> usize {
        let label = |index: usize| set.images[index].label;
        order.windows(2).filter(|pair| label(pair[0]) == label(pair[1])).count()
    }

    #[test]
    fn every_order_is_a_permutation_that_the_seed_decides() {
        let set = set(10, 30);
        let dirichlet = |seed, concentration| Order::Dirichlet { seed, concentration };
        for (one, other) in [
            (Order::Shuffled(1), Order::Shuffled(2)),
            (Order::Classes(1), Order::Classes(2)),
            (dirichlet(1, 0.1), dirichlet(2, 0.1)),
            (dirichlet(1, 1e-9), dirichlet(1, 1e9)),
        ] {
            let order = set.order(one);
            assert_eq!(order, set.order(one));
            assert_ne!(order, set.order(other));
            let mut sorted = order;
            sorted.sort_unstable();
            assert_eq!(sorted, (0..300).collect::<Vec<_>>(), "{one:?}");
        }
    }

    #[test]
    fn a_small_concentration_brings_classes_in_bursts() {
        let set = set(10, 30);
        let of = |order| repeats(&set, &set.order(order));
        let bursts = |concentration| of(Order::Dirichlet { seed: 3, concentration });
        let shuffled = of(Order::Shuffled(3));
        assert_eq!(of(Order::Classes(3)), 290);
        assert!(bursts(0.01) > bursts(10.0), "{} {}", bursts(0.01), bursts(10.0));
        assert!(bursts(10.0) > 3 * shuffled, "{} {shuffled}", bursts(10.0));
        // With less than an image of each class per slot, the slots hardly join classes.
        assert!(bursts(1e9) < 270, "{}", bursts(1e9));
    }
}
