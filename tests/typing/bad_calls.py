"""Calls that mypy and pyright must reject, each on the line of its comment."""

import flowdyn as fd

p = fd.problems.LinearRegression([[1.0]], [1.0])
fd.solve(fd.GradientFlow(p), [0.0], tt=1.0)  # no such option
fd.solve(fd.GradientFlow(p))  # no start
fd.eta_limit(fd.GradientDescent(p, eta=0.1), [0.0], t=1.0, ordr=2)  # no such option
fd.plot(fd.solve(fd.GradientFlow(p), [0.0], t=1.0), style="x")  # no such option
fd.Solve  # no such name
fd.problems.LinearRegresion  # no such problem
fd.GradientDescent(p)  # no step size
fd.GradientDescent(p, eta="fast")  # text
fd.GradientFlow(3.0)  # no problem
fd.solvers.Scipy(rtl=1e-9)  # no such option
fd.solve(fd.GradientFlow(p), [0.0], t=1.0, solver="LSODA")  # a name is no solver
fd.eta_limit(fd.GradientFlow(p), [0.0], t=1.0)  # a flow has no step size
fd.save(p, "p.nc")  # no Dataset
fd.problems.DiagonalNetwork([[1.0]])  # no targets
fd.theory.max_margin([[1.0]], [1]).margins  # no such field
fd.SGD(p, 0.1, batch_size=2.5)  # no whole number
fd.solve(fd.GradientFlow(p), [0.0], t=1.0, on_divergence="ignore")  # no such choice
fd.eta_limit(fd.GradientDescent(p, 0.1), [0.0], t=1.0, error="l2")  # no such error
fd.SGD(p, 0.1, sampling="x")  # no such sampling
fd.problems.LinearClassifier([[1.0]], [1], loss="hinge")  # no such loss
fd.solve(fd.GradientFlow(p), [0.0], t=1.0, saves=10.0)  # no whole number
