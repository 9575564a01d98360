use neural_collapse::*; use neural_collapse::descent::*; use rand::SeedableRng;
fn main(){ 
 let a: Vec<String>=std::env::args().collect();
 let scale: f64=a[1].parse().unwrap(); let lw: f64=a[2].parse().unwrap(); let lh: f64=a[3].parse().unwrap(); let w:usize=a[4].parse().unwrap();
 for (name,c) in [("cifar",ClassCounts::paper_cifar10()),("letters",ClassCounts::paper_emnist_letters())] {
 for l in [2usize,3] { for bias in [true,false] { for m in [Method::HeavyBall{momentum:0.9},Method::Nesterov] {
  let make = if bias {Ufm::biased} else {Ufm::bias_free};
  let u=make(c.clone(), vec![Layer::new(w,lw);l], lh).unwrap();
  let z=u.minimizer();
  let s=Parameters::gaussian(&u,scale,&mut rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1)).unwrap();
  let t=std::time::Instant::now();
  let r=Descent::new(m).with_optimum(z.objective(),1e-10).with_step_limit(20000).minimize(&u,s).unwrap();
  println!("{name} L={l} bias={bias} {m:?} rank {} f*={:.12} gap {:.1e} steps {} evals {} {:?} |g|={:.1e} {:.2}s",z.rank(),z.objective(),r.gap.unwrap(),r.steps,r.evaluations,r.stop,r.gradient_norm,t.elapsed().as_secs_f64());
 }}}}
}
