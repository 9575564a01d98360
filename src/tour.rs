//! From a question to its answer: one network, from what its code minimizes to whether its training has got there.
//!
//! # What do I minimize?
//!
//! A classifier for ten classes, two of 5000 images, four of 500 and four of 50, is trained in PyTorch with `MSELoss` on
//! one-hot labels, a weight decay of 5e-3 on its last linear layer of width 64, and a penalty 1e-3/2 times the mean of
//! ‖h‖² on the features that this layer reads. The theory has its own units: half the squared error, summed over classes
//! and averaged over samples. [`TrainingConvention`] takes one to the other.
//!
//! ```
//! use neural_collapse::{ClassCounts, FeatureConvention, Layer, LossConvention, TrainingConvention, Ufm};
//!
//! let classes: ClassCounts = "5000x2,500x4,50x4".parse()?;
//! let training = TrainingConvention::new(LossConvention::Mean, FeatureConvention::Mean);
//! let layer_decay = training.layer_decay(5e-3, classes.classes())?;
//! let feature_decay = training.feature_decay(1e-3, classes.classes(), classes.samples())?;
//! assert!((layer_decay - 0.025).abs() < 1e-15); // K/2 times as large: MSELoss averages over the ten outputs too
//!
//! let ufm = Ufm::new(classes, [Layer::new(64, layer_decay)], feature_decay)?;
//! # Ok::<(), neural_collapse::Error>(())
//! ```
//!
//! More linear layers are more [`Layer`]s, from the features to the outputs, each with its width and decay;
//! [`Ufm::without_bias`] is the model without a bias. `measure` and `predict` among the examples take the same numbers from
//! the command line.
//!
//! # Where must it end?
//!
//! [`Ufm::minimizer`] answers at once, whatever the number of classes and samples: the least loss, the rank, and what
//! becomes of every class.
//!
//! ```
//! # use neural_collapse::{ClassCounts, FeatureConvention, Layer, LossConvention, TrainingConvention, Ufm};
//! # let training = TrainingConvention::new(LossConvention::Mean, FeatureConvention::Mean);
//! # let ufm = Ufm::new("5000x2,500x4,50x4".parse::<ClassCounts>()?, [Layer::new(64, 0.025)], 5e-3 / 12_200.0)?;
//! use neural_collapse::theory::GroupFate;
//!
//! let minimizer = ufm.minimizer()?;
//! let least_loss = training.loss(minimizer.objective(), ufm.outputs());
//! assert!((least_loss - 0.004_014).abs() < 1e-6); // what PyTorch will print, penalties included, and no less
//! assert!(minimizer.is_unique()); // up to rotations of the features
//! assert_eq!(minimizer.group_fates()?, [GroupFate::Distinct; 3]); // no class has collapsed
//!
//! // Its geometry is no simplex: the small classes are closer to each other, and have smaller classifiers.
//! let geometry = minimizer.geometry()?;
//! let classifiers = geometry.classifiers();
//! assert!((classifiers.norm(0).unwrap() - 0.437).abs() < 1e-3 && (classifiers.norm(6).unwrap() - 0.150).abs() < 1e-3);
//! assert!(classifiers.cosine(0, 1).unwrap() < -0.47); // two of the large ones
//! assert!(classifiers.cosine(6, 7).unwrap() > -0.06); // two of the small ones
//! # Ok::<(), neural_collapse::Error>(())
//! ```
//!
//! # How far is it from collapse?
//!
//! As decays grow, the classifiers of the smallest classes fall together, and then vanish. The margins are exact.
//!
//! ```
//! # use neural_collapse::{ClassCounts, FeatureConvention, Layer, LossConvention, TrainingConvention, Ufm};
//! # let training = TrainingConvention::new(LossConvention::Mean, FeatureConvention::Mean);
//! # let ufm = Ufm::new("5000x2,500x4,50x4".parse::<ClassCounts>()?, [Layer::new(64, 0.025)], 5e-3 / 12_200.0)?;
//! # let minimizer = ufm.minimizer()?;
//! use neural_collapse::theory::Goal;
//!
//! // Both decays may grow 5.7 times before the classes of 50 share one classifier ...
//! assert!((minimizer.coincidence_scale(2)?.unwrap() - 5.726).abs() < 1e-3);
//! // ... or the layer's alone to 0.82, which is a weight_decay of 0.164,
//! let largest = minimizer.largest_layer_decay(Goal::AllDirections, 0)?.unwrap();
//! assert!((largest - 0.8197).abs() < 1e-4);
//! // and to 0.13 if the smallest classifier is to have 30 % of the norm of the largest. It has half at no decay.
//! assert!((minimizer.largest_layer_decay(Goal::NormRatio(0.3), 0)?.unwrap() - 0.1298).abs() < 1e-4);
//! assert_eq!(minimizer.largest_layer_decay(Goal::NormRatio(0.5), 0)?, None);
//! # Ok::<(), neural_collapse::Error>(())
//! ```
//!
//! # Does anything go there?
//!
//! A descent knows nothing of the theory. From a random start on all 12,200 samples, reduced exactly to 74 columns, it
//! ends where the theory says.
//!
//! ```
//! # use neural_collapse::{ClassCounts, Layer, Ufm};
//! # let ufm = Ufm::new("5000x2,500x4,50x4".parse::<ClassCounts>()?, [Layer::new(64, 0.025)], 5e-3 / 12_200.0)?;
//! # let minimizer = ufm.minimizer()?;
//! use neural_collapse::{
//!     Point,
//!     descent::Descent,
//!     critical::{Ending, ending},
//!     rand::{SeedableRng, rngs::Xoshiro256PlusPlus},
//! };
//!
//! let start = Point::gaussian(&ufm, 1.0, &mut Xoshiro256PlusPlus::seed_from_u64(0))?;
//! let run = Descent::default().with_optimum(minimizer.objective()).minimize(&ufm, start)?;
//! assert_eq!((run.columns, ending(&minimizer, &run)?), (74, Ending::GlobalMinimum));
//! assert!(run.gap.unwrap() <= 1e-10);
//! # Ok::<(), neural_collapse::Error>(())
//! ```
//!
//! # Has my training got there?
//!
//! Features come in batches, a column a sample, in `f32` or `f64`, and are never in memory as a whole. Here they are those
//! of a descent that was stopped early; the example `measure` reads them from .npy or safetensors files.
//!
//! ```
//! # use neural_collapse::{ClassCounts, Layer, Ufm};
//! # use neural_collapse::{Point, descent::Descent, rand::{SeedableRng, rngs::Xoshiro256PlusPlus}};
//! # let ufm = Ufm::new("5000x2,500x4,50x4".parse::<ClassCounts>()?, [Layer::new(64, 0.025)], 5e-3 / 12_200.0)?;
//! # let minimizer = ufm.minimizer()?;
//! # let start = Point::gaussian(&ufm, 1.0, &mut Xoshiro256PlusPlus::seed_from_u64(0))?;
//! # let descent = Descent::default().with_optimum(minimizer.objective()).with_gap_tolerance(1e-3);
//! # let (weights, features, bias) = descent.minimize(&ufm, start)?.parameters()?.into_parts();
//! # let mut counts = ufm.class_counts().unwrap().counts().iter().zip(0..);
//! # let labels: Vec<usize> = counts.flat_map(|(&count, class)| vec![class; count as usize]).collect();
//! use neural_collapse::metrics::{FeatureAccumulator, Nc1Convention, NearestCenter, distance, network_collapse};
//!
//! let mut accumulator = FeatureAccumulator::with_scatter(64, 10)?;
//! for start in (0..labels.len()).step_by(1000) {
//!     let size = 1000.min(labels.len() - start);
//!     accumulator.add(features.subcols(start, size), &labels[start..start + size])?;
//! }
//! let statistics = accumulator.finish();
//!
//! // Against the minimizer of *this* model; the first is NC1 as Liu, Dang and Zhu have it.
//! let collapse = network_collapse(&minimizer, weights[0].as_ref(), &statistics)?;
//! assert_eq!(collapse.nc1, statistics.nc1(Nc1Convention::Global)?);
//! assert!(collapse.nc1.unwrap() < 1e-6); // the features of a class are one
//! assert!(collapse.nc2_classifier.unwrap() < 0.02 && collapse.nc3.unwrap() < 1e-3);
//!
//! // Whether it decides as the nearest class mean does, in a pass of its own.
//! let mut rules = NearestCenter::new(weights[0].as_ref(), bias.as_ref().map(|bias| bias.as_ref()), &statistics)?;
//! rules.add(features.as_ref(), &labels)?;
//! assert_eq!((rules.disagreement(), rules.accuracy()), (Some(0.0), Some(1.0)));
//!
//! // The verdict is the gap: the objective of the network beside the least that there is.
//! let point = statistics.point(&ufm, weights, bias)?;
//! let gap = point.objective(&ufm)? / minimizer.objective() - 1.0;
//! assert!(gap > 0.0 && gap <= 1e-3);
//! assert!(distance(&minimizer, &point)?.unwrap() < 0.01); // the closest global minimizer is less than 1 % away
//! # Ok::<(), neural_collapse::Error>(())
//! ```
//!
//! # And then?
//!
//! [`guarantees`](crate::guarantees) says what can be relied on. The module pages of [`theory`](crate::theory),
//! [`descent`](crate::descent) and [`metrics`](crate::metrics) go on from here; other targets than labels are
//! [`Targets`](crate::Targets).
//!
//! [`TrainingConvention`]: crate::TrainingConvention
//! [`Layer`]: crate::Layer
//! [`Ufm::without_bias`]: crate::Ufm::without_bias
//! [`Ufm::minimizer`]: crate::Ufm::minimizer
