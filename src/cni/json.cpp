// SPDX-License-Identifier: Apache-2.0
// Boost.JSON for the static plugin, which links no library of the distribution.
#include <boost/json/src.hpp>
