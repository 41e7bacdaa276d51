// A problem as an integer program.
//
// Symbols: x_c  a node takes choice c (one of them); nodes with one choice have none.
//          For a site and each state m that it may be made in but replicated: g_m, the whole is had from it; h_ms, the split s is had
//          directly; a_m, m is a partial sum, and at least one part is had directly.
// Rows:    with made_m and want_rs sums of x, for each reader r: want_rs <= made_s + made_replicated + sum over m of g_m + h_ms, and
//          made_m <= want_rm + g_m + sum over s of h_ms; for each m and s: g_m + h_ms <= made_m, h_ms <= a_m. So a reader's want is
//          had from what is made, as in facility location: its relaxation is tight where the program is a tree.
//          One row for each row of memory, in parts of the limit.
// Only x is integer: given x, the rest is at its cheapest.
// Source:  the problem is Alpa's (arXiv 2201.12023, section 4.2), with what readers share paid once.
#pragma once

#include <vector>

#include "planner/intra_op/problem.h"
#include "planner/solver/integer_program.h"

namespace alpa::planner::intra_op {

class LinearForm {
 public:
  explicit LinearForm(const Problem& problem);

  const IntegerProgram& program() const { return program_; }
  // The problem's cost of a solution whose objective in the program is given: the program leaves out what no choice changes, and
  // counts in units of its largest cost.
  double CostOf(double objective) const { return objective * unit_ + constant_; }
  // The choices that a solution makes, and the solution for given choices. REQUIRES: these do not move what is rigid.
  std::vector<int> ChosenBy(const std::vector<double>& values) const;
  std::vector<double> ValuesOf(const std::vector<int>& chosen) const;

 private:
  struct Direct {
    int made, wanted, variable;
  };
  struct SiteVariables {
    std::vector<std::pair<int, int>> whole;  // made state, variable
    std::vector<Direct> direct;
    std::vector<std::pair<int, int>> any;    // made state, variable
  };

  void AddNodes();
  void AddMemory();
  void AddSite(const Site& site, SiteVariables& variables);

  const Problem& problem_;
  IntegerProgram program_;
  double constant_ = 0, unit_ = 1;
  std::vector<int> first_variable_;          // by node: of its choices; -1 where there is only one
  std::vector<SiteVariables> of_site_;
};

}  // namespace alpa::planner::intra_op
