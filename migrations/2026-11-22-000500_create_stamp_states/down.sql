DROP VIEW stamp_states;
