//! Links every policy into a library without std. If any crate below the registry, or the policies of model servers, pulled in std, this
//! would not compile: std brings a panic handler of its own, and there can be only one.
#![no_std]

extern crate alloc;

use core::alloc::{GlobalAlloc, Layout};
use core::panic::PanicInfo;

struct NoMemory;

// SAFETY: never hands out memory, which the contract of `GlobalAlloc` allows. Nothing here is ever run.
unsafe impl GlobalAlloc for NoMemory {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: NoMemory = NoMemory;

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}

/// Keeps the registry, and through it every policy, in the library.
#[unsafe(no_mangle)]
pub extern "C" fn policies() -> usize {
    let config = foretell_registry::PolicyConfig::default();
    foretell_registry::all_names().iter().filter(|name| foretell_registry::build(name, &config).is_ok()).count()
}

/// The same for what decides inside model servers.
#[unsafe(no_mangle)]
pub extern "C" fn serving_policies() -> bool {
    let batching = foretell_serving_policies::DynamicBatching::up_to(8);
    let router = foretell_serving_policies::KvAware::new(foretell_serving_policies::KvAwareOptions::default());
    foretell_serving_policies::DynamicBatcher::new(batching).is_ok() && router.is_ok()
}
