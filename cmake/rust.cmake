# The target salient_rust: the crate in src/rust, built by cargo as one static library. A
# toolchain file may name the cargo and the target, SALIENT_CARGO and SALIENT_RUST_TARGET, further flags and variables for
# cargo, SALIENT_RUST_FLAGS and SALIENT_RUST_ENVIRONMENT, and what the library needs, SALIENT_RUST_LIBRARIES.

# cargo and the newest versioned names some distributions use; 1.88 is the oldest that builds the crate.
function(salient_find_cargo result)
  foreach(name cargo cargo-1.96 cargo-1.95 cargo-1.94 cargo-1.93 cargo-1.92 cargo-1.91 cargo-1.90 cargo-1.89 cargo-1.88)
    find_program(SALIENT_CARGO_${name} ${name})
    if(SALIENT_CARGO_${name})
      execute_process(COMMAND ${SALIENT_CARGO_${name}} --version OUTPUT_VARIABLE version ERROR_QUIET)
      if(version MATCHES "cargo ([0-9]+\\.[0-9]+)" AND CMAKE_MATCH_1 VERSION_GREATER_EQUAL 1.88)
        set(${result} ${SALIENT_CARGO_${name}} PARENT_SCOPE)
        return()
      endif()
    endif()
  endforeach()
  message(FATAL_ERROR "No cargo of version 1.88 or later was found: run scripts/setup")
endfunction()

if(NOT SALIENT_CARGO)
  salient_find_cargo(SALIENT_CARGO)
endif()
# A versioned cargo comes with a compiler of the same suffix.
string(REGEX REPLACE "cargo([^/]*)$" "rustc\\1" SALIENT_RUSTC ${SALIENT_CARGO})

set(rust_source ${PROJECT_SOURCE_DIR}/src/rust)
set(SALIENT_RUST_BUILD_DIR ${CMAKE_BINARY_DIR}/rust CACHE PATH "Where cargo builds; the presets share one folder")
# cargo names it after its target: libsalient_rust.a, or salient_rust.lib for Microsoft's linker.
set(rust_library ${SALIENT_RUST_BUILD_DIR}/${SALIENT_RUST_TARGET}/release)
set(rust_library ${rust_library}/${CMAKE_STATIC_LIBRARY_PREFIX}salient_rust${CMAKE_STATIC_LIBRARY_SUFFIX})
if(SALIENT_RUST_TARGET)
  set(rust_flags --target ${SALIENT_RUST_TARGET} ${SALIENT_RUST_FLAGS})
  set(rust_environment ${SALIENT_RUST_ENVIRONMENT})
  # One of the crate's dependencies is linked as a shared library too. For Microsoft's linker cargo finds it itself.
  if(NOT MSVC)
    string(TOUPPER CARGO_TARGET_${SALIENT_RUST_TARGET}_LINKER rust_linker)
    string(REPLACE "-" "_" rust_linker ${rust_linker})
    list(APPEND rust_environment ${rust_linker}=${CMAKE_CXX_COMPILER})
  endif()
endif()
# Without CC and CXX, which builders of wheels set: with another value of theirs cargo builds all again.
file(GLOB rust_files CONFIGURE_DEPENDS ${rust_source}/src/*.rs)
add_custom_command(
  OUTPUT ${rust_library}
  COMMAND ${CMAKE_COMMAND} -E env --unset=CC --unset=CXX CARGO_TARGET_DIR=${SALIENT_RUST_BUILD_DIR}
          RUSTC=${SALIENT_RUSTC} ${rust_environment}
          ${SALIENT_CARGO} build --release --locked --quiet ${rust_flags} --manifest-path ${rust_source}/Cargo.toml
  DEPENDS ${rust_files} ${rust_source}/Cargo.toml ${rust_source}/Cargo.lock
  COMMENT "Building the Rust crate"
  VERBATIM)
add_custom_target(salient_rust_build DEPENDS ${rust_library})

# What Rust's standard library and the crate need of the system.
if(MSVC)
  set(rust_system_libraries ws2_32 userenv ntdll bcrypt synchronization advapi32 dbghelp)
elseif(APPLE)
  set(rust_system_libraries m "-framework CoreFoundation")
else()
  set(rust_system_libraries m)
endif()

add_library(salient_rust STATIC IMPORTED GLOBAL)
add_dependencies(salient_rust salient_rust_build)
set_target_properties(salient_rust PROPERTIES
  IMPORTED_LOCATION ${rust_library}
  INTERFACE_INCLUDE_DIRECTORIES ${rust_source}
  INTERFACE_LINK_LIBRARIES "Threads::Threads;${CMAKE_DL_LIBS};${rust_system_libraries};${SALIENT_RUST_LIBRARIES}")
