# Builds for Linux on AArch64 with Debian's cross compiler; scripts/test-portability installs what that takes. Tests run
# under qemu.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -cpu max)

# Debian's cargo has its standard library for AArch64 in a package; one from rustup takes `rustup target add`.
set(SALIENT_CARGO /usr/bin/cargo CACHE FILEPATH "The cargo that builds the Rust crate")
set(SALIENT_RUST_TARGET aarch64-unknown-linux-gnu)
