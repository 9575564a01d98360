//! From class counts to fates: which classes keep a classifier of their own, and how near the others are to losing it?
//!
//!     cargo run --release --example counts_to_fates
//!     cargo run --release --example counts_to_fates -- 5000,500x9,20x40

use neural_collapse::{
    ClassCounts, Error, Layer, Ufm,
    theory::{GroupFate, Minimizer},
};

fn main() -> Result<(), Error> {
    // Counts are read as people write them: 600x5 is five classes of 600 samples each.
    let counts = std::env::args().nth(1).unwrap_or_else(|| "1500,600x5,50x20".into());
    let classes: ClassCounts = counts.parse()?;
    println!("{} classes, {} samples, ratio {:.0}\n", classes.classes(), classes.samples(), classes.imbalance_ratio());

    println!("{:>11}  {:>9}  {:>4}  fates, by falling count", "layer decay", "least f", "rank");
    for layer_decay in [1e-4, 1e-3, 5e-3, 2e-2, 1e-1] {
        // The model: 512 features, one linear layer with this decay, a bias, and a decay of the features.
        let ufm = Ufm::new(classes.clone(), [Layer::new(512, layer_decay)], 5e-4)?;
        let minimizer = ufm.minimizer()?;
        let fates: Vec<_> = minimizer.group_fates()?.into_iter().map(describe).collect();
        println!("{layer_decay:>11}  {:>9.6}  {:>4}  {}", minimizer.objective(), minimizer.rank(), fates.join(", "));
    }

    let ufm = Ufm::new(classes.clone(), [Layer::new(512, 1e-3)], 5e-4)?;
    margins(&classes, &ufm.minimizer()?)
}

fn describe(fate: GroupFate) -> &'static str {
    match fate {
        GroupFate::Distinct => "distinct",
        GroupFate::Single => "single",
        GroupFate::Coincident => "coincident",
        GroupFate::Vanished => "vanished",
        _ => "open",
    }
}

/// By which factor may all decays grow until the classes of a group share one classifier, and until they have none?
fn margins(classes: &ClassCounts, minimizer: &Minimizer) -> Result<(), Error> {
    println!("\nAt a layer decay of 1e-3, all decays together may grow by these factors:\n");
    println!("{:>7}  {:>7}  {:>12}  {:>12}  {:>12}", "classes", "samples", "norm", "coincide at", "vanish at");
    let geometry = minimizer.geometry()?;
    for (r, group) in classes.groups().enumerate() {
        // A class that is the only one of its count has no other to coincide with.
        let coincide = minimizer.coincidence_scale(r)?.value().map_or("-".into(), |scale| format!("{scale:.4}"));
        let norm = geometry.classifiers().norm(group.classes[0]).map_or("-".into(), |norm| format!("{norm:.6}"));
        println!(
            "{:>7}  {:>7}  {norm:>12}  {coincide:>12}  {:>12.4}",
            group.multiplicity(),
            group.count,
            minimizer.vanishing_scale(r)?
        );
    }
    Ok(())
}
