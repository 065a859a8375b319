# weir_fuzz_target(NAME SOURCES ... LINKS ... [CORPUS DIR] [DICTIONARY FILE] [SECONDS N]): a libFuzzer
# binary fuzz_NAME. It runs for a few seconds in the tests, from the corpus in the tree and the same seed
# each time, so that a change is judged by what it changed; and with new seeds as long as one likes by
# `./dev fuzz NAME SECONDS`. New inputs go to the build tree; what they found and is worth
# keeping is copied to the corpus by hand. Only in builds with sanitizers.
function(weir_fuzz_target name)
  if(NOT WEIR_SANITIZE)
    return()
  endif()
  cmake_parse_arguments(ARG "" "CORPUS;DICTIONARY;SECONDS" "SOURCES;LINKS" ${ARGN})
  if(NOT ARG_SECONDS)
    set(ARG_SECONDS 5)
  endif()
  set(found ${CMAKE_BINARY_DIR}/fuzz/${name})
  file(MAKE_DIRECTORY ${found}/corpus ${found}/artifacts)
  set(arguments -timeout=10 -rss_limit_mb=2048 -max_len=4096 -len_control=10 -print_final_stats=1
      -artifact_prefix=${found}/artifacts/)
  if(ARG_DICTIONARY)
    list(APPEND arguments -dict=${CMAKE_CURRENT_SOURCE_DIR}/${ARG_DICTIONARY})
  endif()
  set(corpora ${found}/corpus)
  if(ARG_CORPUS)
    list(APPEND corpora ${CMAKE_CURRENT_SOURCE_DIR}/${ARG_CORPUS})
  endif()

  add_executable(fuzz_${name} ${ARG_SOURCES})
  target_include_directories(fuzz_${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
  target_compile_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  target_link_libraries(fuzz_${name} PRIVATE ${ARG_LINKS} weir_options)
  list(JOIN arguments " " words)
  list(JOIN corpora " " directories)
  file(GENERATE OUTPUT ${found}/run CONTENT
"#!/bin/sh
# fuzz_${name}, as the tests run it; arguments are libFuzzer's, e.g. -max_total_time=3600.
exec $<TARGET_FILE:fuzz_${name}> ${words} \"$@\" ${directories}
" FILE_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
  add_test(NAME fuzz.${name} COMMAND ${found}/run -seed=1 -max_total_time=${ARG_SECONDS})
  set_tests_properties(fuzz.${name} PROPERTIES LABELS fuzz TIMEOUT 120)
endfunction()
