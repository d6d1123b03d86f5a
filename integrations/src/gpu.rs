//! Graphics processors of this machine, through NVIDIA's management library (NVML).
//!
//! The library comes with the driver and is loaded when it is asked for, so that one program runs
//! on machines with and without. Rules:
//!
//! * a device is known by its UUID; its index changes when devices come and go;
//! * what a device does not report is absent, never zero, and so is a value that no device can
//!   have: the library has numbers that stand for "not known";
//! * a device that fails does not hide the others;
//! * quantities are whole numbers with the unit in the name.

use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

/// No device is busier than all the time.
const PERCENT_MAX: u32 = 100;
/// Silicon is long destroyed at this temperature.
const CELSIUS_MAX: u32 = 200;
/// More than any device can be supplied with.
const MILLIWATTS_MAX: u32 = 20_000_000;

/// One reading of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpu {
    /// What it is known by, such as `GPU-c1b9e9d1-…`.
    pub uuid: String,
    /// Where the driver lists it just now, from 0.
    pub index: u32,
    /// What its maker calls it.
    pub name: String,
    /// Its memory.
    pub memory_total_bytes: Option<u64>,
    /// What programs hold of it.
    pub memory_used_bytes: Option<u64>,
    /// What the driver keeps of it for itself.
    pub memory_reserved_bytes: Option<u64>,
    /// In how much of the last moments some program ran on it; not how much of the device it used.
    pub utilization_percent: Option<u32>,
    /// How hot the chip is.
    pub temperature_celsius: Option<u32>,
    /// What it draws.
    pub power_milliwatts: Option<u32>,
}

/// Why there is no reading.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GpuError {
    /// The library is not there, and so neither is the driver it comes with.
    #[error("no NVIDIA driver here")]
    NoDriver,
    /// The library is there and fails.
    #[error("the NVIDIA driver cannot be asked ({0}); `nvidia-smi` tells more")]
    Driver(String),
    /// One device fails.
    #[error("device {index} cannot be read ({reason}); `nvidia-smi` tells more")]
    Device {
        /// Where the driver lists it.
        index: u32,
        /// What the library said.
        reason: String,
    },
}

/// The driver, ready to be asked again and again. Every call blocks, the first for seconds where
/// the driver has to wake devices up.
#[derive(Debug)]
pub struct Nvidia {
    library: Nvml,
    driver_version: String,
}

impl Nvidia {
    /// Loads the library and asks which driver it belongs to.
    ///
    /// # Errors
    /// [`GpuError::NoDriver`] where there is none, [`GpuError::Driver`] where it does not work.
    pub fn open() -> Result<Self, GpuError> {
        let library = Nvml::init().map_err(unopened)?;
        let driver_version = library.sys_driver_version().map_err(failed)?;
        Ok(Self { library, driver_version })
    }

    /// The driver's version.
    #[must_use]
    pub fn driver_version(&self) -> &str {
        &self.driver_version
    }

    /// Reads every device, in the order in which the driver lists them.
    ///
    /// # Errors
    /// [`GpuError::Driver`] when the driver cannot even say how many there are.
    pub fn read(&self) -> Result<Vec<Result<Gpu, GpuError>>, GpuError> {
        let count = self.library.device_count().map_err(failed)?;
        let read = |index| {
            let device = self.library.device_by_index(index);
            let gpu = device.and_then(|device| read(&device, index));
            gpu.map_err(|error| GpuError::Device { index, reason: error.to_string() })
        };
        Ok((0..count).map(read).collect())
    }
}

fn read(device: &Device<'_>, index: u32) -> Result<Gpu, NvmlError> {
    let memory = reported(device.memory_info())?.filter(|memory| memory.total > 0);
    let total = memory.as_ref().map(|memory| memory.total);
    let within = |bytes: u64| total.filter(|total| bytes <= *total).map(|_| bytes);
    let utilization = reported(device.utilization_rates())?.map(|rates| rates.gpu);
    let temperature = reported(device.temperature(TemperatureSensor::Gpu))?;
    let power = reported(device.power_usage())?;
    Ok(Gpu {
        uuid: device.uuid()?,
        index,
        name: device.name()?,
        memory_total_bytes: total,
        memory_used_bytes: memory.as_ref().and_then(|memory| within(memory.used)),
        memory_reserved_bytes: memory.as_ref().and_then(|memory| within(memory.reserved)),
        utilization_percent: utilization.filter(|percent| *percent <= PERCENT_MAX),
        temperature_celsius: temperature.filter(|celsius| *celsius <= CELSIUS_MAX),
        power_milliwatts: power.filter(|milliwatts| *milliwatts <= MILLIWATTS_MAX),
    })
}

/// Tells what a device does not report from what went wrong. An older driver lacks functions that
/// this program knows.
fn reported<T>(answer: Result<T, NvmlError>) -> Result<Option<T>, NvmlError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(
            NvmlError::NotSupported
            | NvmlError::FunctionNotFound
            | NvmlError::FailedToLoadSymbol(_)
            | NvmlError::NoData,
        ) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A library that is not there is no fault; one that is there and cannot be loaded is.
fn unopened(error: NvmlError) -> GpuError {
    match &error {
        NvmlError::LibloadingError(said)
            if said.to_string().to_lowercase().contains("no such file") =>
        {
            GpuError::NoDriver
        }
        _ => failed(error),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "errors are handed over as they come")]
fn failed(error: NvmlError) -> GpuError {
    GpuError::Driver(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_device_does_not_report_is_absent_and_a_fault_is_a_fault() {
        assert_eq!(reported(Ok(7)).expect("a value"), Some(7));
        let missing = NvmlError::FailedToLoadSymbol("undefined symbol".to_owned());
        for absent in [NvmlError::NotSupported, NvmlError::NoData, missing] {
            assert_eq!(reported::<u32>(Err(absent)).expect("no fault"), None);
        }
        reported::<u32>(Err(NvmlError::GpuLost)).expect_err("a lost device is a fault");
    }

    #[test]
    fn a_driver_that_does_not_work_is_not_taken_for_none() {
        let mismatch = unopened(NvmlError::LibRmVersionMismatch);
        assert!(matches!(&mismatch, GpuError::Driver(text) if text.contains("mismatch")));
        let unloaded = unopened(NvmlError::DriverNotLoaded);
        assert!(matches!(unloaded, GpuError::Driver(_)), "{unloaded}");
    }
}
