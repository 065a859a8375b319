# weir_bpf_skeleton(NAME [SOURCE]): compiles bpf/NAME.bpf.c, or SOURCE, and makes weir_NAME_skel, an
# interface target whose include path holds NAME.skel.h. -mcpu=v3 is what the oldest supported kernel
# takes.
find_program(BPF_CLANG NAMES clang-19 REQUIRED)
find_program(BPFTOOL NAMES bpftool PATHS /usr/sbin /sbin REQUIRED)

function(weir_bpf_skeleton name)
  set(source ${CMAKE_SOURCE_DIR}/bpf/${name}.bpf.c)
  if(ARGC GREATER 1)
    set(source ${ARGV1})
  endif()
  set(dir ${CMAKE_BINARY_DIR}/bpf)
  set(object ${dir}/${name}.bpf.o)
  set(skeleton ${dir}/${name}.skel.h)
  file(MAKE_DIRECTORY ${dir})
  add_custom_command(
    OUTPUT ${object}
    COMMAND ${BPF_CLANG} -g -O2 -target bpf -mcpu=v3 -std=gnu11
            -Wall -Wextra -Wno-unused-parameter -Wno-address-of-packed-member -Werror
            -MMD -MF ${object}.d -MT ${object}
            -I${CMAKE_SOURCE_DIR}/bpf/include -I${CMAKE_SOURCE_DIR}/bpf
            -I/usr/include/${CMAKE_LIBRARY_ARCHITECTURE}
            -c ${source} -o ${object}
    DEPENDS ${source}
    DEPFILE ${object}.d
    COMMENT "BPF ${name}"
    VERBATIM)
  add_custom_command(
    OUTPUT ${skeleton}
    COMMAND ${BPFTOOL} gen object ${dir}/${name}.linked.o ${object}
    COMMAND sh -c "${BPFTOOL} gen skeleton ${dir}/${name}.linked.o name weir_${name}_bpf > ${skeleton}.tmp"
    COMMAND ${CMAKE_COMMAND} -E rename ${skeleton}.tmp ${skeleton}
    DEPENDS ${object}
    COMMENT "Skeleton ${name}"
    VERBATIM)
  add_custom_target(weir_${name}_bpf_object DEPENDS ${skeleton})
  add_library(weir_${name}_skel INTERFACE)
  target_include_directories(weir_${name}_skel SYSTEM INTERFACE ${dir})
  target_link_libraries(weir_${name}_skel INTERFACE PkgConfig::LIBBPF weir_abi)
  add_dependencies(weir_${name}_skel weir_${name}_bpf_object)
endfunction()
