"""The same small applications, run with python-dockerflow and with this package.

They use python-dockerflow's public interface only. `python -m side_by_side flask_app` prints what
one module's scenarios observed; ../test_side_by_side.py runs all of them twice and compares.
"""
