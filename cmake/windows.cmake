# Builds for 64-bit Windows with MinGW-w64; scripts/build-windows installs what that takes, on Debian 12, and puts the
# libraries into build/windows/deps. The programs need no DLL that Windows does not have.
set(CMAKE_SYSTEM_NAME Windows)
set(CMAKE_SYSTEM_PROCESSOR x86_64)
set(CMAKE_C_COMPILER x86_64-w64-mingw32-gcc-posix)
set(CMAKE_CXX_COMPILER x86_64-w64-mingw32-g++-posix)
set(CMAKE_RC_COMPILER x86_64-w64-mingw32-windres)

# gcc aligns no 32 bytes on the stacks of Windows (its bug 54412), so that vectors kept there are moved as unaligned ones.
set(CMAKE_CXX_FLAGS_INIT "-D_WIN32_WINNT=0x0A00 -Wa,-mbig-obj -Wa,-muse-unaligned-vector-move")
set(CMAKE_EXE_LINKER_FLAGS_INIT -static)

# Headers of this machine's own system would be found too, and break everything.
set(CMAKE_FIND_ROOT_PATH ${CMAKE_CURRENT_LIST_DIR}/../build/windows/deps)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)

# The tests are listed when they run, by Wine.
set(CMAKE_CROSSCOMPILING_EMULATOR wine)
set(CMAKE_GTEST_DISCOVER_TESTS_DISCOVERY_MODE PRE_TEST)

# Debian has no standard library of Rust for Windows: cargo builds it, which takes flags that are not stable.
set(SALIENT_CARGO /usr/bin/cargo CACHE FILEPATH "The cargo that builds the Rust crate")
set(SALIENT_RUST_TARGET x86_64-pc-windows-gnu)
set(SALIENT_RUST_FLAGS -Z build-std=std,panic_unwind)
set(SALIENT_RUST_ENVIRONMENT RUSTC_BOOTSTRAP=1)
set(SALIENT_RUST_LIBRARIES ws2_32 userenv ntdll bcrypt synchronization)
