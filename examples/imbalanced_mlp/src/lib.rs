//! Trains a network on imbalanced real data, and compares its last layers with what the theory of `neural_collapse`
//! predicts.
//!
//! [`flags`] are what a person asks for, [`device`] where, [`data`] what a network learns, [`configuration`] all that
//! decides over a run.
//! [`network`], [`objective`], [`optimizer`] and [`train`] are the training; [`measure`] is its judge and knows nothing of
//! it but weights and features; [`target`] is what they are compared with, and [`groups`] the classes that the loss
//! cannot tell apart; [`history`], [`checkpoint`], [`figures`] and [`report`] are what stays of it; [`run`](mod@run)
//! puts them together, and [`reproduce`](mod@reproduce) is the experiments of `results`.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod checkpoint;
pub mod configuration;
pub mod data;
pub mod decay_flags;
pub mod device;
pub mod figures;
pub mod flags;
pub mod groups;
pub mod history;
pub mod loss_flags;
pub mod measure;
pub mod network;
pub mod objective;
pub mod optimizer;
pub mod report;
pub mod reproduce;
pub mod run;
pub mod target;
pub mod train;
