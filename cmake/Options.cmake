# Compiler settings of the whole tree. Rooms are libraries; nothing is set globally but what every
# translation unit shares.
option(WEIR_SANITIZE "Build with address and undefined-behaviour sanitizers" OFF)
option(WEIR_BUILD_TESTS "Build tests and benchmarks" ON)

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g1")
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1 -DNDEBUG")

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()
add_link_options(-fuse-ld=lld)

find_package(PkgConfig REQUIRED)
pkg_check_modules(LIBBPF REQUIRED IMPORTED_TARGET libbpf>=1.1)
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(tl-expected REQUIRED)
find_package(CLI11 REQUIRED)

# Warnings and sanitizers of our own code, linked PRIVATE by every target of ours.
add_library(weir_options INTERFACE)
target_compile_options(weir_options INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wnon-virtual-dtor -Woverloaded-virtual
  -Wno-missing-field-initializers -Wno-gnu-statement-expression -Werror)
if(WEIR_SANITIZE)
  target_compile_options(weir_options INTERFACE
    -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
    -fsanitize-coverage=inline-8bit-counters,pc-table) # what fuzz targets see of the rooms they link
  target_link_options(weir_options INTERFACE -fsanitize=address,undefined)
endif()

# weir_room(NAME SOURCES ... LINKS ...): one room of src/ as a static library weir_NAME.
function(weir_room name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  add_library(weir_${name} STATIC ${ARG_SOURCES})
  target_include_directories(weir_${name} PUBLIC ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(weir_${name} PUBLIC ${ARG_LINKS} PRIVATE weir_options)
endfunction()
