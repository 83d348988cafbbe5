export { default } from './CompanyList';
