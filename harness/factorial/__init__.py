"""Factorial designs: the effects that factors and pairs of factors have, and which of them a set of configs can tell.

A cell is one config of a design, written as the index of its level of each factor.
"""
