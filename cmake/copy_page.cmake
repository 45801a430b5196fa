# Copies the sources of the page from FROM to TO, where its packages are installed; what is no more there goes.
file(GLOB old LIST_DIRECTORIES true ${TO}/src ${TO}/public ${TO}/dist)
if(old)
  file(REMOVE_RECURSE ${old})
endif()
file(COPY ${FROM}/ DESTINATION ${TO} PATTERN node_modules EXCLUDE PATTERN dist EXCLUDE)
