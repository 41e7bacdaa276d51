// Writes a Problem as an integer program.
//
// Symbols: x_c   A node takes choice c. Each node takes exactly one choice. A node with a single choice has no
//          variables.
//          The other variables belong to a site. They exist for each state m in which the site's value may be made,
//          except replicated:
//          g_m   The full value is computed from m, and every reader can be served from it.
//          h_ms  The split s is converted directly from m.
//          a_m   m is a partial sum, and at least one split is converted directly from it.
// Rows:    made_m is the sum of x over the choices that make the value in state m. want_rs is the sum of x over the
//          choices of reader r that want state s.
//            for each r and s:  want_rs <= made_s + made_replicated + sum over m of (g_m + h_ms)
//            for each r and m:  made_m <= want_rm + g_m + sum over s of h_ms
//            for each m and s:  g_m + h_ms <= made_m,  h_ms <= a_m
//          As in a facility-location problem, these rows supply each reader with the state that it wants. The linear
//          relaxation of these rows is tight if the program is a tree.
//          Each memory row of the problem adds one row, in units of the memory limit.
//          Only x is integer: for given x, the other variables take their cheapest values.
// Source:  Alpa's integer program (arXiv 2201.12023, section 4.2), except that readers share a conversion, which is
//          paid once.
#pragma once

#include <vector>

#include "planner/intra_op/problem.h"
#include "planner/solver/integer_program.h"

namespace alpa::planner::intra_op {

class LinearForm {
 public:
  // REQUIRES: `problem` outlives this object.
  explicit LinearForm(const Problem& problem);

  const IntegerProgram& program() const { return program_; }
  // Converts an objective of the program into a cost of the problem. The program leaves out costs that no choice
  // changes, and its unit is its largest cost.
  double CostOf(double objective) const { return objective * unit_ + constant_; }
  // Returns the choices of a solution of the program.
  std::vector<int> ChosenBy(const std::vector<double>& values) const;
  // Returns the solution of the program for given choices. REQUIRES: the choices convert no split value of a rigid
  // site.
  std::vector<double> ValuesOf(const std::vector<int>& chosen) const;

 private:
  struct Direct {
    int made, wanted, variable;  // m, s, h_ms
  };
  struct SiteVariables {
    std::vector<std::pair<int, int>> whole;  // m, g_m
    std::vector<Direct> direct;
    std::vector<std::pair<int, int>> any;    // m, a_m
  };

  void AddNodes();
  void AddMemory();
  void AddSite(const Site& site, SiteVariables& variables);

  const Problem& problem_;
  IntegerProgram program_;
  double constant_ = 0, unit_ = 1;
  std::vector<int> first_variable_;          // one entry per node: variable of its first choice; -1: only one choice
  std::vector<SiteVariables> of_site_;
};

}  // namespace alpa::planner::intra_op
