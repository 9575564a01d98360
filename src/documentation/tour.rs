//! From a question to its answer: one network, from what its code minimizes to whether its training has reached the
//! minimum.
//!
//! Every block of code below stands alone. It begins with the lines of earlier blocks that it needs.
//!
//! # What do I minimize?
//!
//! A classifier for ten classes is trained in PyTorch: two classes of 5000 images, four of 500 and four of 50. The loss
//! is `MSELoss` on one-hot labels. The last linear layer has width 64 and a weight decay of 5e-3. The features that
//! this layer reads have a penalty of 1e-3/2 times the mean of ‖h‖². The theory has its own units: half the squared
//! error, summed over classes and averaged over samples. [`TrainingConvention`] converts from one to the other.
//!
//! ```
//! use neural_collapse::{ClassCounts, FeatureConvention, Layer, LossConvention, TrainingConvention, Ufm};
//!
//! let classes: ClassCounts = "5000x2,500x4,50x4".parse()?;
//! let training = TrainingConvention::new(LossConvention::Mean, FeatureConvention::Mean);
//! let layer_decay = training.layer_decay(5e-3, classes.classes())?;
//! let feature_decay = training.feature_decay(1e-3, classes.classes(), classes.samples())?;
//! assert!((layer_decay - 0.025).abs() < 1e-15); // K/2 times as large: MSELoss averages over the ten outputs too
//! assert!((feature_decay * 12_200.0 - 5e-3).abs() < 1e-15); // also divided by the number of samples
//!
//! let ufm = Ufm::new(classes, [Layer::new(64, layer_decay)], feature_decay)?;
//! # Ok::<(), neural_collapse::Error>(())
//! ```
//!
//! For more linear layers give more [`Layer`]s, from the features to the outputs, each with its width and decay.
//! [`Ufm::without_bias`] gives the model without a bias. On the command line, `neural-collapse predict` and
//! `neural-collapse measure` take the same numbers.
//!
//! # Where must training end?
//!
//! [`Ufm::minimizer`] gives the least loss, the rank, and the fate of every class. It is fast for any number of classes
//! and samples.
//!
//! ```
//! use neural_collapse::{ClassCounts, FeatureConvention, Layer, LossConvention, TrainingConvention, Ufm};
//! use neural_collapse::theory::GroupFate;
//!
//! // The model of the first block.
//! let training = TrainingConvention::new(LossConvention::Mean, FeatureConvention::Mean);
//! let ufm = Ufm::new("5000x2,500x4,50x4".parse::<ClassCounts>()?, [Layer::new(64, 0.025)], 5e-3 / 12_200.0)?;
//!
//! let minimizer = ufm.minimizer()?;
//! let least_loss = training.loss(minimizer.objective(), ufm.outputs());
//! assert!((least_loss - 0.004_014).abs() < 1e-6); // the least that PyTorch can print, penalties included
//! assert!(minimizer.is_unique()); // up to rotations of the features
//! assert_eq!(minimizer.group_fates()?, [GroupFate::Distinct; 3]); // no class has collapsed
//!
//! // Its geometry is not a simplex: small classes are closer to each other, and their classifiers are shorter.
//! let geometry = minimizer.geometry()?;
//! let classifiers = geometry.classifiers();
//! assert!((classifiers.norm(0).unwrap() - 0.437).abs() < 1e-3 && (classifiers.norm(6).unwrap() - 0.150).abs() < 1e-3);
//! assert!(classifiers.cosine(0, 1).unwrap() < -0.47); // two of the large classes
//! assert!(classifiers.cosine(6, 7).unwrap() > -0.06); // two of the small classes
//! # Ok::<(), neural_collapse::Error>(())
//! ```
//!
//! # How far is it from collapse?
//!
//! As decays grow, the classifiers of the smallest classes first become equal, and then vanish. The margins are exact.
//!
//! ```
//! use neural_collapse::{ClassCounts, Layer, Ufm, theory::{Goal, Limit}};
//!
//! // The model of the first block, and its minimizer.
//! let ufm = Ufm::new("5000x2,500x4,50x4".parse::<ClassCounts>()?, [Layer::new(64, 0.025)], 5e-3 / 12_200.0)?;
//! let minimizer = ufm.minimizer()?;
//!
//! // Both decays may grow 5.7 times before the classes of 50 share one classifier,
//! assert!((minimizer.coincidence_scale(2)?.value().unwrap() - 5.726).abs() < 1e-3);
//! // or the layer's alone may grow to 0.82, which is a weight_decay of 0.164.
//! let largest = minimizer.largest_layer_decay(Goal::AllDirections, 0)?.value().unwrap();
//! assert!((largest - 0.8197).abs() < 1e-4);
//! // It may grow to 0.13 if the smallest classifier must keep 30 % of the norm of the largest.
//! let largest = minimizer.largest_layer_decay(Goal::NormRatio(0.3), 0)?.value().unwrap();
//! assert!((largest - 0.1298).abs() < 1e-4);
//! // No decay, however small, gives the smallest classifier half of the norm.
//! assert_eq!(minimizer.largest_layer_decay(Goal::NormRatio(0.5), 0)?, Limit::Never);
//! # Ok::<(), neural_collapse::Error>(())
//! ```
//!
//! # Does a descent go there?
//!
//! A descent knows nothing of the theory. This one starts at random on all 12,200 samples, reduced exactly to 74
//! columns, and ends where the theory says.
//!
//! ```
//! use neural_collapse::{
//!     ClassCounts, Layer, Point, Ufm,
//!     critical::{Ending, ending},
//!     descent::Descent,
//!     rand::{SeedableRng, rngs::Xoshiro256PlusPlus},
//! };
//!
//! // The model of the first block, and its minimizer.
//! let ufm = Ufm::new("5000x2,500x4,50x4".parse::<ClassCounts>()?, [Layer::new(64, 0.025)], 5e-3 / 12_200.0)?;
//! let minimizer = ufm.minimizer()?;
//!
//! let start = Point::gaussian(&ufm, 1.0, &mut Xoshiro256PlusPlus::seed_from_u64(0))?;
//! let run = Descent::default().with_optimum(minimizer.objective()).minimize(&ufm, start)?;
//! assert_eq!((run.columns, ending(&minimizer, &run)?), (74, Ending::GlobalMinimum));
//! assert!(run.gap.unwrap() <= 1e-10);
//! # Ok::<(), neural_collapse::Error>(())
//! ```
//!
//! # Has my training reached the minimum?
//!
//! Features come in batches, one column for each sample, in `f32` or `f64`. They are never in memory as a whole. Here
//! they come from a descent that stopped early. For a network of your own, export the arrays `weights`, `bias`,
//! `features` and `labels`; `neural-collapse measure` reads them from .npy or safetensors files.
//!
//! ```
//! use neural_collapse::{ClassCounts, Layer, Point, Ufm, descent::Descent};
//! use neural_collapse::metrics::{FeatureAccumulator, Nc1Convention, NearestCenter, distance, network_collapse};
//! use neural_collapse::rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
//!
//! // The model of the first block, and its minimizer.
//! let ufm = Ufm::new("5000x2,500x4,50x4".parse::<ClassCounts>()?, [Layer::new(64, 0.025)], 5e-3 / 12_200.0)?;
//! let minimizer = ufm.minimizer()?;
//!
//! // A "network": the point at which a descent stopped, at a gap of 1e-3. Its samples are sorted by class.
//! let start = Point::gaussian(&ufm, 1.0, &mut Xoshiro256PlusPlus::seed_from_u64(0))?;
//! let descent = Descent::default().with_optimum(minimizer.objective()).with_gap_tolerance(1e-3);
//! let (weights, features, bias) = descent.minimize(&ufm, start)?.parameters()?.into_parts();
//! let counts = ufm.class_counts().unwrap().counts().iter().zip(0..);
//! let labels: Vec<usize> = counts.flat_map(|(&count, class)| vec![class; count as usize]).collect();
//!
//! // Its features in batches of 1000 samples: 64 numbers each, 10 classes.
//! let mut accumulator = FeatureAccumulator::with_scatter(64, 10)?;
//! for start in (0..labels.len()).step_by(1000) {
//!     let size = 1000.min(labels.len() - start);
//!     accumulator.add(features.subcols(start, size), &labels[start..start + size])?;
//! }
//! let statistics = accumulator.finish();
//!
//! // Compared with the minimizer of *this* model. NC1 is that of Liu, Dang and Zhu.
//! let collapse = network_collapse(&ufm.optimum()?, weights[0].as_ref(), &statistics)?;
//! assert_eq!(collapse.nc1, statistics.nc1(Nc1Convention::Global)?);
//! assert!(collapse.nc1.unwrap() < 1e-6); // the features of each class are almost equal
//! assert!(collapse.nc2_classifier.unwrap() < 0.02 && collapse.nc3.unwrap() < 1e-3);
//!
//! // Does it decide as the nearest class mean does? This takes a second pass.
//! let mut rules = NearestCenter::new(weights[0].as_ref(), bias.as_ref().map(|bias| bias.as_ref()), &statistics)?;
//! rules.add(features.as_ref(), &labels)?;
//! assert_eq!((rules.disagreement(), rules.accuracy()), (Some(0.0), Some(1.0)));
//!
//! // The verdict is the gap: the objective of the network compared with the least one possible.
//! let point = statistics.point(&ufm, weights, bias)?;
//! let gap = point.objective(&ufm)? / minimizer.objective() - 1.0;
//! assert!(gap > 0.0 && gap <= 1e-3);
//! assert!(distance(&minimizer, &point)?.unwrap().largest() < 0.1); // every block is within 10 % of the closest minimizer's
//! # Ok::<(), neural_collapse::Error>(())
//! ```
//!
//! # And then?
//!
//! [`guarantees`](super::guarantees) says what you can rely on. The module pages of [`theory`](crate::theory),
//! [`descent`](crate::descent) and [`metrics`](crate::metrics) go on from here. For targets other than labels see
//! [`Targets`](crate::Targets).
//!
//! [`TrainingConvention`]: crate::TrainingConvention
//! [`Layer`]: crate::Layer
//! [`Ufm::without_bias`]: crate::Ufm::without_bias
//! [`Ufm::minimizer`]: crate::Ufm::minimizer
