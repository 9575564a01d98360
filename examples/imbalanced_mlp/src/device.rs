//! Where networks are trained.

use burn::tensor::Device;
use clap::ValueEnum;

/// A device on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Place {
    /// This machine's cores
    Cpu,
    /// The first graphics card of NVIDIA
    #[cfg(feature = "cuda")]
    Cuda,
    /// The graphics card that Vulkan, Metal or DirectX finds
    #[cfg(feature = "wgpu")]
    Wgpu,
}

impl Place {
    /// The device itself.
    #[must_use]
    pub fn device(self) -> Device {
        match self {
            Self::Cpu => Device::flex(),
            #[cfg(feature = "cuda")]
            Self::Cuda => Device::cuda(0),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
        }
    }
}
