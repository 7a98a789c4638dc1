//! All tests that need a model, in one program: each links the whole engine.

mod adapters;
mod batches;
mod cpu_kernels;
mod crash_folder;
mod families;
mod features;
mod files;
mod full_size;
mod gpu;
mod gpu_kernels;
mod host;
mod journal;
mod networks;
mod packed;
mod plan;
mod prompts;
mod recipe;
mod shared;
mod starter;
mod team;
