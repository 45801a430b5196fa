# SALIENT_PAGE_SOURCE: the file with the chat page of apps/web, built by Node 18 or later, or one without a page. The
# target `web` builds the page. Everything happens in a copy in the build folder.
set(SALIENT_WEB "AUTO" CACHE STRING "Build the chat page into the program: ON, OFF, or AUTO: where Node can")

set(SALIENT_PAGE_SOURCE ${PROJECT_SOURCE_DIR}/src/serve/page_absent.cpp)
set(page_source ${PROJECT_SOURCE_DIR}/apps/web)
set(page_copy ${CMAKE_BINARY_DIR}/web)

# salient_install_page_modules(RESULT): why the packages that the page needs cannot be had; empty when they are there.
function(salient_install_page_modules result)
  file(MAKE_DIRECTORY ${page_copy})
  file(COPY ${page_source}/package.json ${page_source}/package-lock.json DESTINATION ${page_copy})
  file(SHA256 ${page_source}/package-lock.json wanted)
  if(EXISTS ${page_copy}/installed)
    file(READ ${page_copy}/installed installed)
  endif()
  if(NOT "${installed}" STREQUAL "${wanted}")
    execute_process(COMMAND ${SALIENT_NPM} ci --no-audit --no-fund --prefer-offline WORKING_DIRECTORY ${page_copy}
                    OUTPUT_FILE ${page_copy}/npm.log ERROR_FILE ${page_copy}/npm.log RESULT_VARIABLE failed TIMEOUT 300)
    if(failed)
      set(${result} "npm ci failed, see ${page_copy}/npm.log" PARENT_SCOPE)
      return()
    endif()
    file(WRITE ${page_copy}/installed ${wanted})
  endif()
  set(${result} "" PARENT_SCOPE)
endfunction()

# salient_find_node(RESULT): why there is no Node to build with; empty when there is.
function(salient_find_node result)
  find_program(SALIENT_NODE NAMES node nodejs)
  if(CMAKE_HOST_WIN32)
    find_program(SALIENT_NPM npm.cmd)  # npm is a script for other shells there
  else()
    find_program(SALIENT_NPM npm)
  endif()
  if(NOT SALIENT_NODE OR NOT SALIENT_NPM)
    set(${result} "there is no Node with npm" PARENT_SCOPE)
    return()
  endif()
  execute_process(COMMAND ${SALIENT_NODE} --version OUTPUT_VARIABLE version OUTPUT_STRIP_TRAILING_WHITESPACE)
  string(REGEX REPLACE "^v" "" version "${version}")
  if(version VERSION_LESS 18)
    set(${result} "Node is ${version}, expected 18 or later" PARENT_SCOPE)
    return()
  endif()
  set(${result} "" PARENT_SCOPE)
endfunction()

# salient_build_page(): the target `web`, and SALIENT_PAGE_SOURCE in the caller's scope.
function(salient_build_page)
  set(embedded ${page_copy}/page_embedded.cpp)
  file(GLOB_RECURSE files CONFIGURE_DEPENDS ${page_source}/src/* ${page_source}/public/*)
  file(GLOB others CONFIGURE_DEPENDS ${page_source}/*.html ${page_source}/*.js ${page_source}/*.ts ${page_source}/*.json)
  add_custom_command(
    OUTPUT ${embedded}
    COMMAND ${CMAKE_COMMAND} -D FROM=${page_source} -D TO=${page_copy} -P ${PROJECT_SOURCE_DIR}/cmake/copy_page.cmake
    COMMAND ${CMAKE_COMMAND} -E chdir ${page_copy} ${SALIENT_NPM} run --silent build -- --logLevel warn
    COMMAND ${SALIENT_NODE} ${PROJECT_SOURCE_DIR}/cmake/embed_page.mjs ${page_copy}/dist ${page_copy}/compressed ${embedded}
    DEPENDS ${files} ${others} ${PROJECT_SOURCE_DIR}/cmake/copy_page.cmake ${PROJECT_SOURCE_DIR}/cmake/embed_page.mjs
    COMMENT "Building the chat page"
    VERBATIM)
  add_custom_target(web DEPENDS ${embedded})
  set(SALIENT_PAGE_SOURCE ${embedded} PARENT_SCOPE)
endfunction()

if(SALIENT_WEB STREQUAL "AUTO" AND SALIENT_SANITIZE)
  set(page_missing "its programs are for tests")
elseif(NOT SALIENT_WEB)
  set(page_missing "SALIENT_WEB is ${SALIENT_WEB}")
elseif(NOT EXISTS ${page_source}/index.html)
  set(page_missing "there is no apps/web/index.html")
else()
  salient_find_node(page_missing)
  if(NOT page_missing)
    salient_install_page_modules(page_missing)
  endif()
endif()
if(NOT page_missing)
  salient_build_page()
elseif(SALIENT_WEB AND NOT SALIENT_WEB STREQUAL "AUTO")
  message(FATAL_ERROR "The chat page cannot be built: ${page_missing}")
else()
  message(STATUS "The chat page is not built: ${page_missing}")
endif()
