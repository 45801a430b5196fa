# What `cmake --install` and the packages have: the program, the library with its headers, and how other projects find
# it: find_package(salient) and pkg-config.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS salient RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT program)
install(TARGETS salient_shared EXPORT salientTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library
  RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT library
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/salient DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT library)

set(salient_cmake_folder ${CMAKE_INSTALL_LIBDIR}/cmake/salient)
install(EXPORT salientTargets FILE salientConfig.cmake NAMESPACE salient:: DESTINATION ${salient_cmake_folder}
  COMPONENT library)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/salientConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/salientConfigVersion.cmake DESTINATION ${salient_cmake_folder} COMPONENT library)

# The prefix is found from where the file is, so that a moved installation still works.
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/salient.pc @ONLY CONTENT [[
prefix=${pcfiledir}/../..
Name: salient
Description: Four times smaller language models and their fast inference
Version: @PROJECT_VERSION@
Cflags: -I${prefix}/@CMAKE_INSTALL_INCLUDEDIR@
Libs: -L${prefix}/@CMAKE_INSTALL_LIBDIR@ -lsalient
]])
install(FILES ${CMAKE_BINARY_DIR}/salient.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT library)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT program)

# The program writes its own completion files, where it runs here.
if(NOT CMAKE_CROSSCOMPILING AND NOT WIN32)
  install(CODE "
    set(data \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_DATADIR}\")
    foreach(shell_and_file bash:bash-completion/completions/salient zsh:zsh/site-functions/_salient
                           fish:fish/vendor_completions.d/salient.fish)
      string(REPLACE \":\" \";\" pair \${shell_and_file})
      list(GET pair 0 shell)
      list(GET pair 1 file)
      cmake_path(GET file PARENT_PATH folder)
      file(MAKE_DIRECTORY \${data}/\${folder})
      execute_process(COMMAND $<TARGET_FILE:salient> completion \${shell} OUTPUT_FILE \${data}/\${file}
                      COMMAND_ERROR_IS_FATAL ANY)
    endforeach()"
    COMPONENT program)
endif()

# `cpack` in the build folder: a .tar.gz, and on Linux a .deb.
set(CPACK_PACKAGE_NAME salient)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Makes language models four times smaller and runs them fast on this machine")
set(CPACK_PACKAGE_CONTACT "the Salient authors <salient@localhost>")
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_GENERATOR TGZ)
if(CMAKE_SYSTEM_NAME STREQUAL "Linux")
  list(PREPEND CPACK_GENERATOR DEB)
endif()
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
include(CPack)
